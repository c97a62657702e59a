// sgemm on CUDA tensors: the ops and their registration. Packed weights are the CPU's alone.
#include "ops/gemm_call.h"

#include "cuda_ops/cuda_call.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "sgemm";
constexpr const char* kBatchedOp = "sgemm_batched";

using OptionalString = std::optional<std::string>;

// beta * out + a b^T and the epilogue into `out`, which is row-major of the compute type; matrices or
// batches.
void multiply_into(const GemmCall& call, const Tensor& b, Activation activation, double beta,
                   const Tensor& out) {
  if (out.numel() == 0) return;
  const int64_t k = call.a.size(call.a.dim() - 1);
  GK_CHECK(k <= INT32_MAX, call.op, "k must be below 2^31 on CUDA, got ", k);
  const CudaCall device(call.op, call.a);
  const ScalarType dtype = call.compute_dtype();
  const Tensor left = readable_matrix(call.op, "a copy of a", call.a, dtype),
               right = readable_matrix(call.op, "a copy of b", b, dtype);
  const GemmEpilogue epilogue(call);
  for (const Tensor& tensor : {left, right, out}) device.use(tensor);
  device.use(epilogue.bias);
  device.use(epilogue.param);
  with_compute_type(dtype, [&](auto type) {
    auto args = gemm_args<decltype(type)>(left, out);
    set_b(args, right);
    args.beta = decltype(type)(beta);
    epilogue.fill(args, activation);
    device.check(cuda::sgemm(args, device.stream()));
  });
}

// Entry points, in the order of the schemas of greenkernels/ops/sgemm_op.py.

Tensor sgemm(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const OptionalString& activation,
             const OptionalTensor& activation_param) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  const GemmCall call{kOp, a, b.size(0), bias, activation, activation_param};
  const Activation checked = check_epilogue(call);
  const Tensor out = empty_matrix(kOp, a, {a.size(0), call.n}, call.compute_dtype());
  multiply_into(call, b, checked, 0, out);
  return as_dtype(kOp, "the output", out, a.scalar_type());
}

void sgemm_out(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const OptionalString& activation,
               const OptionalTensor& activation_param, double beta, Tensor out) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  const GemmCall call{kOp, a, b.size(0), bias, activation, activation_param};
  const Activation checked = check_epilogue(call);
  check_out(call, out);
  if (out.numel() == 0) return;
  if (writes_directly(call, b, out)) return multiply_into(call, b, checked, beta, out);
  Tensor fresh = empty_matrix(kOp, a, {a.size(0), call.n}, call.compute_dtype());
  if (beta != 0) torch::stable::copy_(fresh, out);
  multiply_into(call, b, checked, beta, fresh);
  torch::stable::copy_(out, fresh);
}

Tensor sgemm_batched(const Tensor& a, const Tensor& b) {
  check_a(kBatchedOp, a, 3);
  check_b(kBatchedOp, a, b, 3);
  GK_CHECK(a.size(0) == b.size(0), kBatchedOp, "b must have ", a.size(0), " items as a has, got ", b.size(0));
  const OptionalTensor none;
  const OptionalString no_name;
  const GemmCall call{kBatchedOp, a, b.size(1), none, no_name, none};
  const Tensor out = empty_matrix(kBatchedOp, a, {a.size(0), a.size(1), call.n}, call.compute_dtype());
  multiply_into(call, b, Activation::kNone, 0, out);
  return as_dtype(kBatchedOp, "the output", out, a.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("sgemm", TORCH_BOX(&sgemm));
  m.impl("sgemm.out", TORCH_BOX(&sgemm_out));
  m.impl("sgemm_batched", TORCH_BOX(&sgemm_batched));
}

}  // namespace greenkernels::ops
