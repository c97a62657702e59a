// sgemm_tf32x3 on CUDA tensors: the ops and their registration. The CPU has no kernel of that name: there
// greenkernels/ops/sgemm_tf32x3_op.py calls sgemm.
#include "cuda_ops/gemm_run.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "sgemm_tf32x3";
constexpr const char* kBatchedOp = "sgemm_tf32x3_batched";

using OptionalString = std::optional<std::string>;

int multiply(const SgemmArgs<float>& args, const CudaCall& device, const Tensor&) {
  return cuda::sgemm_tf32x3(args, device.stream());
}

void check_operands(const char* op, const Tensor& a, const Tensor& b, int64_t dim) {
  GK_CHECK(a.scalar_type() != ScalarType::Double, op, "a must be float16, bfloat16 or float32, got float64");
  check_a(op, a, dim);
  check_b(op, a, b, dim);
}

// Entry points, in the order of the schemas of greenkernels/ops/sgemm_tf32x3_op.py.

Tensor sgemm_tf32x3(const Tensor& a, const Tensor& b, const OptionalTensor& bias,
                    const OptionalString& activation, const OptionalTensor& activation_param) {
  check_operands(kOp, a, b, 2);
  return gemm_on_cuda<float>({kOp, a, b.size(0), bias, activation, activation_param}, b, multiply);
}

void sgemm_tf32x3_out(const Tensor& a, const Tensor& b, const OptionalTensor& bias,
                      const OptionalString& activation, const OptionalTensor& activation_param, double beta,
                      Tensor out) {
  check_operands(kOp, a, b, 2);
  gemm_out_on_cuda<float>({kOp, a, b.size(0), bias, activation, activation_param}, b, beta, out, multiply);
}

Tensor sgemm_tf32x3_batched(const Tensor& a, const Tensor& b) {
  check_operands(kBatchedOp, a, b, 3);
  return batched_gemm_on_cuda<float>(kBatchedOp, a, b, multiply);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("sgemm_tf32x3", TORCH_BOX(&sgemm_tf32x3));
  m.impl("sgemm_tf32x3.out", TORCH_BOX(&sgemm_tf32x3_out));
  m.impl("sgemm_tf32x3_batched", TORCH_BOX(&sgemm_tf32x3_batched));
}

}  // namespace greenkernels::ops
