// The torch side of strassen_gemm: the ops and their registration.
#include "api/strassen_gemm.h"

#include <torch/csrc/stable/library.h>

#include "ops/gemm_run.h"
#include "ops/strassen_levels.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "strassen_gemm";
constexpr const char* kPackOp = "strassen_gemm_pack";
constexpr const char* kPackedOp = "strassen_gemm_packed";

using OptionalString = std::optional<std::string>;

Tensor multiply(const GemmCall& call, const OptionalTensor& b, const OptionalTensor& packed, int64_t levels) {
  const Activation activation = check_epilogue(call);
  const ScalarType dtype = call.compute_dtype();
  const Tensor out = empty_matrix(call.op, call.a, {call.a.size(0), call.n}, dtype);
  if (out.numel() > 0) {
    const Tensor a = readable_matrix(call.op, "a copy of a", call.a, dtype);
    const GemmEpilogue epilogue(call);
    OptionalTensor plain, panels;
    if (b) plain = readable_matrix(call.op, "a copy of b", *b, dtype);
    if (packed) panels = aligned(call.op, *packed);
    with_scratch(call.op, [&] {
      with_compute_type(dtype, [&](auto type) {
        using T = decltype(type);
        StrassenGemmArgs<T> args{gemm_args<T>(a, out), int(levels)};
        if (plain) set_b(args.gemm, *plain);
        if (panels) args.gemm.packed = static_cast<const T*>(panels->const_data_ptr());
        epilogue.fill(args.gemm, activation);
        cpu::strassen_gemm(args);
      });
    });
  }
  return as_dtype(call.op, "the output", out, call.a.scalar_type());
}

// Entry points, in the order of the schemas of greenkernels/ops/strassen_gemm_op.py.

Tensor strassen_gemm_pack(const Tensor& b, int64_t levels) {
  GK_CHECK(b.dim() == 2, kPackOp, "b must be 2-D, got shape ", shape(b));
  check_float(kPackOp, "b", b);
  check_levels(kPackOp, levels);
  const int64_t n = b.size(0), k = b.size(1);
  return pack_matrix(kPackOp, b, strassen_packed_size(n, k, int(levels)), [&](auto pack_args) {
    using T = std::remove_pointer_t<decltype(pack_args.packed)>;
    cpu::strassen_gemm_pack(StrassenPackArgs<T>{pack_args, int(levels)});
  });
}

Tensor strassen_gemm(const Tensor& a, const Tensor& b, const OptionalTensor& bias, int64_t levels,
                     const OptionalString& activation, const OptionalTensor& activation_param) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  check_levels(kOp, levels);
  return multiply({kOp, a, b.size(0), bias, activation, activation_param}, b, {}, levels);
}

Tensor strassen_gemm_packed(const Tensor& a, const Tensor& packed, const OptionalTensor& bias, int64_t n,
                            int64_t levels, const OptionalString& activation,
                            const OptionalTensor& activation_param) {
  check_a(kPackedOp, a, 2);
  check_levels(kPackedOp, levels);
  const GemmCall call{kPackedOp, a, n, bias, activation, activation_param};
  check_packed_b(call, packed, strassen_packed_size(n, a.size(1), int(levels)));
  return multiply(call, {}, packed, levels);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("strassen_gemm_pack", TORCH_BOX(&strassen_gemm_pack));
  m.impl("strassen_gemm", TORCH_BOX(&strassen_gemm));
  m.impl("strassen_gemm_packed", TORCH_BOX(&strassen_gemm_packed));
}

}  // namespace greenkernels::ops
