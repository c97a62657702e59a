// csr_matmul on CUDA tensors: the ops and their registration. Packed weights are the CPU's alone.
#include "ops/csr_matmul.h"

#include "cuda_ops/cuda_call.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "csr_matmul";
constexpr const char* kGradOp = "csr_matmul_values_grad";

Tensor empty(const CudaCall& device, const char* op, const char* what, const Tensor& like,
             const std::vector<int64_t>& sizes, ScalarType dtype) {
  double bytes = dtype == ScalarType::Byte ? 1 : dtype == ScalarType::Double ? 8 : 4;
  for (const int64_t size : sizes) bytes *= double(size);
  return device.use(allocate(op, what, bytes, [&] {
    return torch::stable::new_empty(like, IntHeaderOnlyArrayRef(sizes.data(), sizes.size()), dtype);
  }));
}

// Indices of one type, as the kernel reads them.
struct Indices {
  Tensor crow, col;

  Indices(const char* op, const CudaCall& device, const Tensor& crow_indices, const Tensor& col_indices) {
    const bool both_narrow =
        crow_indices.scalar_type() == ScalarType::Int && col_indices.scalar_type() == ScalarType::Int;
    const ScalarType dtype = both_narrow ? ScalarType::Int : ScalarType::Long;
    crow = device.use(as_contiguous(op, "a copy of crow_indices", crow_indices, dtype));
    col = device.use(as_contiguous(op, "a copy of col_indices", col_indices, dtype));
  }
};

template <typename T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

// Calls run(T(), I()) with the types that are computed in and that indices have.
template <typename Run>
void with_types(ScalarType dtype, const Indices& indices, const Run& run) {
  const bool narrow = indices.col.scalar_type() == ScalarType::Int;
  if (dtype == ScalarType::Double) {
    narrow ? run(double(), int32_t()) : run(double(), int64_t());
  } else {
    narrow ? run(float(), int32_t()) : run(float(), int64_t());
  }
}

// Entry points, in the order of the schemas of greenkernels/ops/csr_matmul_op.py.

Tensor csr_matmul(const Tensor& crow_indices, const Tensor& col_indices, const Tensor& values,
                  const Tensor& x, const OptionalTensor& bias) {
  const CsrShape shape = check_matmul(kOp, crow_indices, col_indices, values, x, bias);
  const int64_t m = check_rows(kOp, "x", x);
  const ScalarType dtype = csr_compute_dtype(x);
  const CudaCall device(kOp, x);
  const Tensor out = empty(device, kOp, "the output", x, out_sizes(x, shape.n), dtype);
  if (out.numel() > 0) {
    const Indices indices(kOp, device, crow_indices, col_indices);
    const Tensor own = device.use(as_contiguous(kOp, "a copy of values", values, dtype)),
                 rows = device.use(as_contiguous(kOp, "a dense copy of x", x, dtype));
    OptionalTensor own_bias;
    if (bias) own_bias = device.use(as_contiguous(kOp, "a copy of bias", *bias, dtype));
    with_types(dtype, indices, [&](auto element, auto index) {
      using T = decltype(element);
      using I = decltype(index);
      const Tensor scratch = empty(device, kOp, "scratch memory", x,
                                   {cuda::csr_matmul_scratch(shape, m, sizeof(T))}, ScalarType::Byte);
      const CsrCudaArgs<T, I> args{data<I>(indices.crow),
                                   data<I>(indices.col),
                                   data<T>(own),
                                   data<T>(rows),
                                   own_bias ? data<T>(*own_bias) : nullptr,
                                   static_cast<T*>(out.mutable_data_ptr()),
                                   shape,
                                   m};
      device.check(cuda::csr_matmul(args, scratch.mutable_data_ptr(), device.stream()));
    });
  }
  return as_dtype(kOp, "the output", out, x.scalar_type());
}

Tensor csr_matmul_values_grad(const Tensor& crow_indices, const Tensor& col_indices, const Tensor& grad,
                              const Tensor& x) {
  const CsrShape shape = check_values_grad(kGradOp, crow_indices, col_indices, grad, x);
  const int64_t m = check_rows(kGradOp, "x", x);
  const ScalarType dtype = csr_compute_dtype(x);
  const CudaCall device(kGradOp, x);
  const Tensor out = empty(device, kGradOp, "the gradient of the values", x, {shape.nnz}, dtype);
  if (shape.nnz > 0) {
    const Indices indices(kGradOp, device, crow_indices, col_indices);
    const Tensor dy = device.use(as_contiguous(kGradOp, "a dense copy of grad", grad, dtype)),
                 rows = device.use(as_contiguous(kGradOp, "a dense copy of x", x, dtype));
    with_types(dtype, indices, [&](auto element, auto index) {
      using T = decltype(element);
      using I = decltype(index);
      const Tensor scratch = empty(device, kGradOp, "scratch memory", x,
                                   {cuda::csr_matmul_scratch(shape, m, sizeof(T))}, ScalarType::Byte);
      const CsrCudaValuesGradArgs<T, I> args{data<I>(indices.crow),
                                             data<I>(indices.col),
                                             data<T>(dy),
                                             data<T>(rows),
                                             static_cast<T*>(out.mutable_data_ptr()),
                                             shape,
                                             m};
      device.check(cuda::csr_matmul_values_grad(args, scratch.mutable_data_ptr(), device.stream()));
    });
  }
  return as_dtype(kGradOp, "the gradient of the values", out, x.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("csr_matmul", TORCH_BOX(&csr_matmul));
  m.impl("csr_matmul_values_grad", TORCH_BOX(&csr_matmul_values_grad));
}

}  // namespace greenkernels::ops
