// The torch side of csr_matmul: the ops and their registration. Half precision is computed in float32.
#include "ops/csr_matmul.h"

#include <torch/csrc/stable/library.h>

#include <tuple>
#include <type_traits>

#include "cpu/huge_pages.h"
#include "cpu/scratch.h"
#include "ops/csr_contents.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "csr_matmul";
constexpr const char* kPackOp = "csr_matmul_pack";
constexpr const char* kPackedOp = "csr_matmul_packed";
constexpr const char* kGradOp = "csr_matmul_values_grad";
constexpr const char* kTransposeOp = "csr_matmul_transpose";

int64_t element_bytes(ScalarType dtype) { return dtype == ScalarType::Double ? 8 : 4; }

// Calls run(T()) with the type that is computed in.
template <typename Run>
void as_computed(ScalarType dtype, const char* op, const Run& run) {
  try {
    dtype == ScalarType::Double ? run(double()) : run(float());
  } catch (const std::bad_alloc&) {
    fail(op, "out of memory: could not allocate scratch memory");
  }
}

Tensor empty(const char* op, const char* what, const Tensor& like, const std::vector<int64_t>& sizes,
             ScalarType dtype) {
  double bytes = double(element_bytes(dtype));
  for (const int64_t size : sizes) bytes *= double(size);
  return allocate(op, what, bytes, [&] {
    const Tensor tensor =
        torch::stable::new_empty(like, IntHeaderOnlyArrayRef(sizes.data(), sizes.size()), dtype);
    cpu::prefer_huge_pages(tensor.mutable_data_ptr(), static_cast<int64_t>(bytes));
    return tensor;
  });
}

template <typename T>
const T* data(const OptionalTensor& tensor) {
  return tensor ? static_cast<const T*>(tensor->const_data_ptr()) : nullptr;
}

// One call of the kernel. x and bias are of any floating dtype; the weight is packed.
Tensor multiply(const char* op, const Tensor& x, const OptionalTensor& bias, const void* packed,
                const CsrShape& shape, const CsrLayout& layout) {
  const ScalarType dtype = csr_compute_dtype(x);
  const int64_t m = check_rows(op, "x", x);
  const Tensor rows = as_contiguous(op, "a dense copy of x", x, dtype);
  OptionalTensor own_bias;
  if (bias) own_bias = as_contiguous(op, "a copy of bias", *bias, dtype);
  const Tensor out = empty(op, "the output", rows, out_sizes(x, shape.n), dtype);
  as_computed(dtype, op, [&](auto zero) {
    using T = decltype(zero);
    cpu::csr_matmul(CsrMatmulArgs<T>{static_cast<const T*>(rows.const_data_ptr()), packed, data<T>(own_bias),
                                     static_cast<T*>(out.mutable_data_ptr()), shape, layout, m});
  });
  return as_dtype(op, "the output", out, x.scalar_type());
}

void pack_into(const char* op, const CheckedIndices& indices, const Tensor& values, const CsrShape& shape,
               const CsrLayout& layout, void* packed) {
  const ScalarType dtype = csr_compute_dtype(values);
  const Tensor own = as_contiguous(op, "a copy of values", values, dtype);
  as_computed(dtype, op, [&](auto zero) {
    using T = decltype(zero);
    const CsrWeight<T> weight{indices.crow_indices(), indices.col_indices(),
                              static_cast<const T*>(own.const_data_ptr()), shape};
    cpu::csr_matmul_pack(CsrPackArgs<T>{weight, layout, packed});
  });
}

// Entry points, in the order of the schemas of greenkernels/ops/csr_matmul_op.py.

Tensor csr_matmul(const Tensor& crow_indices, const Tensor& col_indices, const Tensor& values,
                  const Tensor& x, const OptionalTensor& bias) {
  const CsrShape shape = check_matmul(kOp, crow_indices, col_indices, values, x, bias);
  const int64_t m = check_rows(kOp, "x", x);
  const CheckedIndices indices = checked_indices(kOp, crow_indices, col_indices, shape);
  const CsrLayout layout = csr_layout(shape, m);
  const int64_t bytes = csr_packed_bytes(shape, layout, element_bytes(csr_compute_dtype(x)));
  try {
    const cpu::ScratchLease packed(bytes);
    pack_into(kOp, indices, values, shape, layout, packed.as<void>());
    return multiply(kOp, x, bias, packed.as<void>(), shape, layout);
  } catch (const std::bad_alloc&) {
    fail(kOp, "out of memory: could not allocate ", bytes, " bytes for the packed weight");
  }
}

Tensor csr_matmul_pack(const Tensor& crow_indices, const Tensor& col_indices, const Tensor& values,
                       int64_t in_features, int64_t batch) {
  GK_CHECK(values.dim() == 1, kPackOp, "values must be 1-D, got shape ", shape(values));
  check_float(kPackOp, "values", values);
  const CsrShape sizes =
      check_structure(kPackOp, crow_indices, col_indices, values, values.size(0), in_features);
  const CheckedIndices indices = checked_indices(kPackOp, crow_indices, col_indices, sizes);
  const CsrLayout layout = csr_layout(sizes, batch);
  const std::vector<int64_t> bytes = {
      csr_packed_bytes(sizes, layout, element_bytes(csr_compute_dtype(values)))};
  // Zeros: gaps between sections too are the same each time.
  const Tensor packed = allocate(kPackOp, "the packed weight", double(bytes[0]), [&] {
    return torch::stable::new_zeros(values, IntHeaderOnlyArrayRef(bytes.data(), 1), ScalarType::Byte);
  });
  pack_into(kPackOp, indices, values, sizes, layout, packed.mutable_data_ptr());
  return packed;
}

Tensor csr_matmul_packed(const Tensor& x, const Tensor& packed, const OptionalTensor& bias,
                         int64_t out_features, int64_t nnz, int64_t batch) {
  check_rows(kPackedOp, "x", x);
  const CsrShape sizes{out_features, x.size(-1), nnz};
  GK_CHECK(0 <= out_features && out_features < kMaxFeatures, kPackedOp,
           "out_features must be in [0, 2^31), got ", out_features);
  GK_CHECK(nnz >= 0, kPackedOp, "nnz must be at least 0, got ", nnz);
  check_tensor(kPackedOp, "packed", packed, 1, ScalarType::Byte, "csr_matmul_pack's result", x);
  const CsrLayout layout = csr_layout(sizes, batch);
  const int64_t bytes = csr_packed_bytes(sizes, layout, element_bytes(csr_compute_dtype(x)));
  GK_CHECK(packed.size(0) == bytes && packed.is_contiguous(), kPackedOp, "packed must have ", bytes,
           " elements for ", nnz, " nonzeros of [", out_features, ", ", x.size(-1), "], got ",
           packed.size(0));
  check_header(kPackedOp, packed, sizes, layout, element_bytes(csr_compute_dtype(x)));
  check_csr_bias(kPackedOp, bias, x, out_features);
  // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
  if (reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 64 == 0) {
    return multiply(kPackedOp, x, bias, packed.const_data_ptr(), sizes, layout);
  }
  const Tensor aligned = torch::stable::new_empty(packed, packed.sizes());
  std::memcpy(aligned.mutable_data_ptr(), packed.const_data_ptr(), bytes);
  return multiply(kPackedOp, x, bias, aligned.const_data_ptr(), sizes, layout);
}

Tensor csr_matmul_values_grad(const Tensor& crow_indices, const Tensor& col_indices, const Tensor& grad,
                              const Tensor& x) {
  const CsrShape sizes = check_values_grad(kGradOp, crow_indices, col_indices, grad, x);
  const int64_t m = check_rows(kGradOp, "x", x);
  const CheckedIndices indices = checked_indices(kGradOp, crow_indices, col_indices, sizes);
  const ScalarType dtype = csr_compute_dtype(x);
  const Tensor rows = as_contiguous(kGradOp, "a dense copy of x", x, dtype);
  const Tensor dy = as_contiguous(kGradOp, "a dense copy of grad", grad, dtype);
  const Tensor out = empty(kGradOp, "the gradient of the values", rows, {sizes.nnz}, dtype);
  as_computed(dtype, kGradOp, [&](auto zero) {
    using T = decltype(zero);
    cpu::csr_matmul_values_grad(CsrValuesGradArgs<T>{
        indices.crow_indices(), indices.col_indices(), static_cast<const T*>(dy.const_data_ptr()),
        static_cast<const T*>(rows.const_data_ptr()), static_cast<T*>(out.mutable_data_ptr()), sizes, m});
  });
  return as_dtype(kGradOp, "the gradient of the values", out, x.scalar_type());
}

std::tuple<Tensor, Tensor, Tensor> csr_matmul_transpose(const Tensor& crow_indices, const Tensor& col_indices,
                                                        int64_t in_features) {
  const CsrShape sizes = check_structure(kTransposeOp, crow_indices, col_indices, crow_indices,
                                         col_indices.numel(), in_features);
  const CheckedIndices indices = checked_indices(kTransposeOp, crow_indices, col_indices, sizes);
  const auto ints = [&](const char* what, int64_t count) {
    const std::vector<int64_t> size = {count};
    return allocate(kTransposeOp, what, 8.0 * double(count), [&] {
      return torch::stable::new_empty(indices.crow, IntHeaderOnlyArrayRef(size.data(), 1), ScalarType::Long);
    });
  };
  const Tensor crow = ints("crow_indices", sizes.k + 1), col = ints("col_indices", sizes.nnz),
               order = ints("the order of the values", sizes.nnz);
  cpu::csr_transpose(CsrTransposeArgs{indices.crow_indices(), indices.col_indices(), sizes,
                                      crow.mutable_data_ptr<int64_t>(), col.mutable_data_ptr<int64_t>(),
                                      order.mutable_data_ptr<int64_t>()});
  return {crow, col, order};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("csr_matmul", TORCH_BOX(&csr_matmul));
  m.impl("csr_matmul_pack", TORCH_BOX(&csr_matmul_pack));
  m.impl("csr_matmul_packed", TORCH_BOX(&csr_matmul_packed));
  m.impl("csr_matmul_values_grad", TORCH_BOX(&csr_matmul_values_grad));
  m.impl("csr_matmul_transpose", TORCH_BOX(&csr_matmul_transpose));
}

}  // namespace greenkernels::ops
