// What dense matrix products share on CUDA tensors: calls, with or without an out, and batches. `multiply`
// calls the launcher: multiply(args, device, out) for SgemmArgs of each of Ts, the types that it computes in,
// and gives its status. Without a b it knows of another one.
#pragma once

#include "ops/gemm_call.h"

#include "cuda_ops/cuda_call.h"

namespace greenkernels::ops {

inline ScalarType type_of(float) { return ScalarType::Float; }
inline ScalarType type_of(double) { return ScalarType::Double; }

// beta * out + a b^T and the epilogue into `out`, which is row-major of the compute type; matrices or
// batches.
template <typename... Ts, typename Multiply>
void multiply_into(const GemmCall& call, const OptionalTensor& b, Activation activation, double beta,
                   const Tensor& out, const Multiply& multiply) {
  if (out.numel() == 0) return;
  const int64_t k = call.a.size(call.a.dim() - 1);
  GK_CHECK(k <= INT32_MAX, call.op, "k must be below 2^31 on CUDA, got ", k);
  const CudaCall device(call.op, call.a);
  const ScalarType dtype = call.compute_dtype();
  const Tensor left = readable_matrix(call.op, "a copy of a", call.a, dtype);
  OptionalTensor right;
  if (b) right = readable_matrix(call.op, "a copy of b", *b, dtype);
  const GemmEpilogue epilogue(call);
  for (const Tensor& tensor : {left, out}) device.use(tensor);
  device.use(right);
  device.use(epilogue.bias);
  device.use(epilogue.param);
  const auto run = [&](auto type) {
    using T = decltype(type);
    if (dtype != type_of(type)) return;
    auto args = gemm_args<T>(left, out);
    if (right) set_b(args, *right);
    args.beta = T(beta);
    epilogue.fill(args, activation);
    device.check(multiply(args, device, out));
  };
  (run(Ts()), ...);
}

template <typename... Ts, typename Multiply>
Tensor gemm_on_cuda(const GemmCall& call, const OptionalTensor& b, const Multiply& multiply) {
  const Activation activation = check_epilogue(call);
  const Tensor out = empty_matrix(call.op, call.a, {call.a.size(0), call.n}, call.compute_dtype());
  multiply_into<Ts...>(call, b, activation, 0, out, multiply);
  return as_dtype(call.op, "the output", out, call.a.scalar_type());
}

template <typename... Ts, typename Multiply>
void gemm_out_on_cuda(const GemmCall& call, const Tensor& b, double beta, Tensor out,
                      const Multiply& multiply) {
  const Activation activation = check_epilogue(call);
  check_out(call, out);
  if (out.numel() == 0) return;
  if (writes_directly(call, b, out)) return multiply_into<Ts...>(call, b, activation, beta, out, multiply);
  Tensor fresh = empty_matrix(call.op, call.a, {call.a.size(0), call.n}, call.compute_dtype());
  if (beta != 0) torch::stable::copy_(fresh, out);
  multiply_into<Ts...>(call, b, activation, beta, fresh, multiply);
  torch::stable::copy_(out, fresh);
}

template <typename... Ts, typename Multiply>
Tensor batched_gemm_on_cuda(const char* op, const Tensor& a, const Tensor& b, const Multiply& multiply) {
  GK_CHECK(a.size(0) == b.size(0), op, "b must have ", a.size(0), " items as a has, got ", b.size(0));
  const OptionalTensor none;
  const std::optional<std::string> no_name;
  const GemmCall call{op, a, b.size(1), none, no_name, none};
  const Tensor out = empty_matrix(op, a, {a.size(0), a.size(1), call.n}, call.compute_dtype());
  multiply_into<Ts...>(call, b, Activation::kNone, 0, out, multiply);
  return as_dtype(op, "the output", out, a.scalar_type());
}

}  // namespace greenkernels::ops
