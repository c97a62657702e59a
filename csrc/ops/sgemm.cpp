// The torch side of sgemm: the ops and their registration.
#include <torch/csrc/stable/library.h>

#include "ops/gemm_run.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "sgemm";
constexpr const char* kBatchedOp = "sgemm_batched";
constexpr const char* kPackOp = "sgemm_pack";
constexpr const char* kPackedOp = "sgemm_packed";

using OptionalString = std::optional<std::string>;

// beta * out + a b^T and the epilogue into `out`, which is row-major of the compute type. Of b and packed one
// is set.
void multiply_into(const GemmCall& call, const OptionalTensor& b, const OptionalTensor& packed,
                   Activation activation, double beta, const Tensor& out) {
  if (out.numel() == 0) return;
  const ScalarType dtype = call.compute_dtype();
  const Tensor a = readable_matrix(call.op, "a copy of a", call.a, dtype);
  const GemmEpilogue epilogue(call);
  OptionalTensor plain, panels;
  if (b) plain = readable_matrix(call.op, "a copy of b", *b, dtype);
  if (packed) panels = aligned(call.op, *packed);
  with_scratch(call.op, [&] {
    with_compute_type(dtype, [&](auto type) {
      using T = decltype(type);
      SgemmArgs<T> args = gemm_args<T>(a, out);
      if (plain) set_b(args, *plain);
      if (panels) args.packed = static_cast<const T*>(panels->const_data_ptr());
      args.beta = T(beta);
      epilogue.fill(args, activation);
      cpu::sgemm(args);
    });
  });
}

Tensor multiply(const GemmCall& call, const OptionalTensor& b, const OptionalTensor& packed) {
  const Activation activation = check_epilogue(call);
  const Tensor out = empty_matrix(call.op, call.a, {call.a.size(0), call.n}, call.compute_dtype());
  multiply_into(call, b, packed, activation, 0, out);
  return as_dtype(call.op, "the output", out, call.a.scalar_type());
}

// Entry points, in the order of the schemas of greenkernels/ops/sgemm_op.py.

Tensor sgemm_pack(const Tensor& b) {
  GK_CHECK(b.dim() == 2, kPackOp, "b must be 2-D, got shape ", shape(b));
  check_float(kPackOp, "b", b);
  return pack_matrix(kPackOp, b, sgemm_padded_columns(b.size(0)) * b.size(1),
                     [](auto args) { cpu::sgemm_pack(args); });
}

Tensor sgemm(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const OptionalString& activation,
             const OptionalTensor& activation_param) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  return multiply({kOp, a, b.size(0), bias, activation, activation_param}, b, {});
}

Tensor sgemm_packed(const Tensor& a, const Tensor& packed, const OptionalTensor& bias, int64_t n,
                    const OptionalString& activation, const OptionalTensor& activation_param) {
  check_a(kPackedOp, a, 2);
  const GemmCall call{kPackedOp, a, n, bias, activation, activation_param};
  check_packed_b(call, packed, sgemm_padded_columns(n) * a.size(1));
  return multiply(call, {}, packed);
}

void sgemm_out(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const OptionalString& activation,
               const OptionalTensor& activation_param, double beta, Tensor out) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  const GemmCall call{kOp, a, b.size(0), bias, activation, activation_param};
  const Activation checked = check_epilogue(call);
  check_out(call, out);
  if (out.numel() == 0) return;
  if (writes_directly(call, b, out)) return multiply_into(call, b, {}, checked, beta, out);
  Tensor fresh = empty_matrix(kOp, a, {a.size(0), call.n}, call.compute_dtype());
  if (beta != 0) torch::stable::copy_(fresh, out);
  multiply_into(call, b, {}, checked, beta, fresh);
  torch::stable::copy_(out, fresh);
}

Tensor sgemm_batched(const Tensor& a, const Tensor& b) {
  check_a(kBatchedOp, a, 3);
  check_b(kBatchedOp, a, b, 3);
  GK_CHECK(a.size(0) == b.size(0), kBatchedOp, "b must have ", a.size(0), " items as a has, got ", b.size(0));
  const OptionalTensor none;
  const OptionalString no_name;
  const GemmCall call{kBatchedOp, a, b.size(1), none, no_name, none};
  const ScalarType dtype = call.compute_dtype();
  const Tensor out = empty_matrix(kBatchedOp, a, {a.size(0), a.size(1), call.n}, dtype);
  if (out.numel() > 0) {
    const Tensor left = readable_matrix(kBatchedOp, "a copy of a", a, dtype);
    const Tensor right = readable_matrix(kBatchedOp, "a copy of b", b, dtype);
    with_scratch(kBatchedOp, [&] {
      with_compute_type(dtype, [&](auto type) {
        auto args = gemm_args<decltype(type)>(left, out);
        set_b(args, right);
        cpu::sgemm(args);
      });
    });
  }
  return as_dtype(kBatchedOp, "the output", out, a.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("sgemm_pack", TORCH_BOX(&sgemm_pack));
  m.impl("sgemm", TORCH_BOX(&sgemm));
  m.impl("sgemm.out", TORCH_BOX(&sgemm_out));
  m.impl("sgemm_packed", TORCH_BOX(&sgemm_packed));
  m.impl("sgemm_batched", TORCH_BOX(&sgemm_batched));
}

}  // namespace greenkernels::ops
