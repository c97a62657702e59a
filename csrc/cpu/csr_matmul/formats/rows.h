// The rows format, for products with one or two rows of x, where memory is the limit: CSR with 16-bit
// columns, 6 bytes a nonzero where torch's CSR has 12. For weights of at most 65,536 columns.
//
//   [header][crow_indices][columns][values], each section 64-byte aligned
#pragma once

#include "cpu/csr_matmul/formats/panels.h"

namespace greenkernels::cpu {

inline constexpr int64_t kCsrRowsMaxColumns = 65536;

template <typename T>
struct CsrRows {
  int64_t* crow_indices;  // [n + 1]
  uint16_t* columns;      // [nnz]
  T* values;              // [nnz]
  int64_t bytes;          // of all sections

  CsrRows(const CsrShape& shape, void* packed, int64_t element_bytes = sizeof(T)) {
    char* const begin = static_cast<char*>(packed);
    crow_indices = reinterpret_cast<int64_t*>(begin + sizeof(CsrHeader));
    char* const after = begin + sizeof(CsrHeader) + csr_aligned((shape.n + 1) * 8);
    columns = reinterpret_cast<uint16_t*>(after);
    values = reinterpret_cast<T*>(after + csr_aligned(shape.nnz * 2));
    bytes = reinterpret_cast<char*>(values) + csr_aligned(shape.nnz * element_bytes) - begin;
  }
};

}  // namespace greenkernels::cpu
