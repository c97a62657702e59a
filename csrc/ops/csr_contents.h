// Checks of what a sparse weight holds, which reads it: on the CPU.
#pragma once

#include <atomic>
#include <cstring>

#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/parallel.h"
#include "ops/csr_matmul.h"

namespace greenkernels::ops {

// That a packed weight of the right size was made for this shape.
inline void check_header(const char* op, const Tensor& packed, const CsrShape& shape, const CsrLayout& layout,
                         int64_t element_bytes) {
  const cpu::CsrHeader wanted = cpu::CsrHeader::of(shape, layout, element_bytes);
  GK_CHECK(std::memcmp(packed.const_data_ptr(), &wanted, sizeof(wanted)) == 0, op,
           "packed must be what csr_matmul_pack returned for ", shape.nnz, " nonzeros of [", shape.n, ", ",
           shape.k, "], got another weight");
}

// The indices as int64, row-major, and their contents checked: only a look at all of them tells.
struct CheckedIndices {
  Tensor crow, col;
  const int64_t* crow_indices() const { return crow.const_data_ptr<int64_t>(); }
  const int64_t* col_indices() const { return col.const_data_ptr<int64_t>(); }
};

inline CheckedIndices checked_indices(const char* op, const Tensor& crow_indices, const Tensor& col_indices,
                                      const CsrShape& shape) {
  const CheckedIndices checked{as_contiguous(op, "a copy of crow_indices", crow_indices, ScalarType::Long),
                               as_contiguous(op, "a copy of col_indices", col_indices, ScalarType::Long)};
  const int64_t* const crow = checked.crow_indices();
  const int64_t* const col = checked.col_indices();
  bool ascending = crow[0] == 0 && crow[shape.n] == shape.nnz;
  for (int64_t row = 0; row < shape.n; ++row) ascending &= crow[row] <= crow[row + 1];
  GK_CHECK(ascending, op, "crow_indices must ascend from 0 to ", shape.nnz, ", the number of values");
  std::atomic<bool> valid{true};
  cpu::parallel_for(shape.n, 256, [&](int64_t begin, int64_t end) {
    bool good = true;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = crow[row], last = crow[row + 1] - 1;
      if (first > last) continue;
      good &= col[first] >= 0 && col[last] < shape.k;
      for (int64_t p = first; p < last; ++p) good &= col[p] < col[p + 1];
    }
    if (!good) valid = false;
  });
  GK_CHECK(valid, op, "col_indices must be in [0, ", shape.k, ") and strictly ascend within a row");
  return checked;
}

}  // namespace greenkernels::ops
