// sgemm on CUDA tensors: the ops and their registration. Packed weights are the CPU's alone.
#include <type_traits>

#include "cuda_ops/gemm_run.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "sgemm";
constexpr const char* kBatchedOp = "sgemm_batched";

using OptionalString = std::optional<std::string>;

constexpr auto multiply = [](const auto& args, const CudaCall& device, const Tensor& out) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(args.out)>>;
  OptionalTensor scratch;
  if (const int64_t count = cuda::sgemm_scratch(args); count > 0) {
    scratch = cuda_memory<T>(device.op(), "scratch memory", count, out, device);
  }
  T* memory = scratch ? static_cast<T*>(scratch->mutable_data_ptr()) : nullptr;
  return cuda::sgemm(args, memory, device.stream());
};

// Entry points, in the order of the schemas of greenkernels/ops/sgemm_op.py.

Tensor sgemm(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const OptionalString& activation,
             const OptionalTensor& activation_param) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  return gemm_on_cuda<float, double>({kOp, a, b.size(0), bias, activation, activation_param}, b, multiply);
}

void sgemm_out(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const OptionalString& activation,
               const OptionalTensor& activation_param, double beta, Tensor out) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  gemm_out_on_cuda<float, double>({kOp, a, b.size(0), bias, activation, activation_param}, b, beta, out,
                                  multiply);
}

Tensor sgemm_batched(const Tensor& a, const Tensor& b) {
  check_a(kBatchedOp, a, 3);
  check_b(kBatchedOp, a, b, 3);
  return batched_gemm_on_cuda<float, double>(kBatchedOp, a, b, multiply);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("sgemm", TORCH_BOX(&sgemm));
  m.impl("sgemm.out", TORCH_BOX(&sgemm_out));
  m.impl("sgemm_batched", TORCH_BOX(&sgemm_batched));
}

}  // namespace greenkernels::ops
