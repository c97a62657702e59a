// What calls of the csr_matmul ops ask for, and every check of their arguments.
// greenkernels/ops/csr_matmul_checks.py holds the same checks in the same order and words for fake tensors
// and for plain torch; a test compares the two.
#pragma once

#include "api/csr_matmul.h"

#include <atomic>
#include <cstring>
#include <optional>
#include <vector>

#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/parallel.h"
#include "ops/conv2d_checks.h"

namespace greenkernels::ops {

inline constexpr int64_t kMaxFeatures = int64_t{1} << 31;

inline ScalarType csr_compute_dtype(const Tensor& tensor) {
  return tensor.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline void check_indices(const char* op, const char* name, const Tensor& indices, const Tensor& like) {
  GK_CHECK(indices.dim() == 1, op, name, " must be 1-D, got shape ", shape(indices));
  const ScalarType dtype = indices.scalar_type();
  GK_CHECK(dtype == ScalarType::Long || dtype == ScalarType::Int, op, name, " must be int64 or int32, got ",
           dtype_name(dtype));
  GK_CHECK(indices.is_cpu() == like.is_cpu(), op, name, " must be on the device of the values, cpu, got ",
           indices.is_cpu() ? "cpu" : "another");
}

// Shapes and dtypes of the indices of a weight with `nnz` values and k columns.
inline CsrShape check_structure(const char* op, const Tensor& crow_indices, const Tensor& col_indices,
                                const Tensor& like, int64_t nnz, int64_t k) {
  check_indices(op, "crow_indices", crow_indices, like);
  check_indices(op, "col_indices", col_indices, like);
  GK_CHECK(crow_indices.size(0) >= 1, op, "crow_indices must have out_features + 1 elements, got 0");
  GK_CHECK(col_indices.size(0) == nnz, op, "col_indices must have ", nnz, " elements, got ",
           col_indices.size(0));
  GK_CHECK(0 <= k && k < kMaxFeatures, op, "in_features must be in [0, 2^31), got ", k);
  return {crow_indices.size(0) - 1, k, nnz};
}

// Rows of x or grad: all but the last dimension.
inline int64_t check_rows(const char* op, const char* name, const Tensor& x) {
  GK_CHECK(x.dim() >= 1, op, name, " must have a dimension or more, got shape ", shape(x));
  check_float(op, name, x);
  int64_t rows = 1;
  for (int64_t d = 0; d + 1 < x.dim(); ++d) rows *= x.size(d);
  return rows;
}

inline void check_csr_bias(const char* op, const OptionalTensor& bias, const Tensor& x, int64_t n) {
  if (!bias) return;
  check_tensor(op, "bias", *bias, 1, x.scalar_type(), "x", x);
  GK_CHECK(bias->size(0) == n, op, "bias must have ", n, " elements, got ", bias->size(0));
}

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
