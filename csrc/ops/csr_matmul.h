// What calls of the csr_matmul ops ask for, and every check of their arguments.
// greenkernels/ops/csr_matmul_checks.py holds the same checks in the same order and words for fake tensors
// and for plain torch; a test compares the two.
#pragma once

#include "api/csr_matmul.h"

#include <optional>
#include <vector>

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
  check_device(op, name, indices, "the values", like);
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

// Of a result with n columns in place of those of x.
inline std::vector<int64_t> out_sizes(const Tensor& x, int64_t n) {
  std::vector<int64_t> sizes(x.sizes().begin(), x.sizes().end());
  sizes.back() = n;
  return sizes;
}

// All arguments of csr_matmul but what the indices hold.
inline CsrShape check_matmul(const char* op, const Tensor& crow_indices, const Tensor& col_indices,
                             const Tensor& values, const Tensor& x, const OptionalTensor& bias) {
  check_rows(op, "x", x);
  check_tensor(op, "values", values, 1, x.scalar_type(), "x", x);
  const CsrShape shape = check_structure(op, crow_indices, col_indices, values, values.size(0), x.size(-1));
  check_csr_bias(op, bias, x, shape.n);
  return shape;
}

// All arguments of csr_matmul_values_grad but what the indices hold.
inline CsrShape check_values_grad(const char* op, const Tensor& crow_indices, const Tensor& col_indices,
                                  const Tensor& grad, const Tensor& x) {
  check_rows(op, "x", x);
  check_tensor(op, "grad", grad, x.dim(), x.scalar_type(), "x", x);
  const CsrShape sizes = check_structure(op, crow_indices, col_indices, x, col_indices.numel(), x.size(-1));
  GK_CHECK(grad.sizes().vec() == out_sizes(x, sizes.n), op, "grad must have shape ",
           shape(out_sizes(x, sizes.n)), ", got ", shape(grad));
  return sizes;
}

}  // namespace greenkernels::ops
