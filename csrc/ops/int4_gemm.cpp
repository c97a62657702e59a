// The torch side of int4_gemm: checks and registration. greenkernels/ops/int4_gemm_checks.py holds the same
// checks in the same words for fake tensors and for plain torch; tests compare the two.
#include "api/int4_gemm.h"

#include <torch/csrc/stable/library.h>

#include "api/int8_gemm.h"
#include "cpu/scratch.h"
#include "ops/few_bits.h"

namespace greenkernels::ops {
namespace {

void check_group(const char* op, int64_t group, int64_t k) {
  GK_CHECK(int4_group_fits(group), op, "group must be 32, 64 or 128, got ", group);
  GK_CHECK(k <= kInt8MaxDepth, op, "k must be at most ", kInt8MaxDepth, ", got ", k);
}

// b and scale, of which the shape is returned.
Int4Weight check_weight(const char* op, const Tensor& b, const Tensor& scale, int64_t group) {
  GK_CHECK(b.dim() == 2, op, "b must be 2-D, got shape ", shape(b));
  GK_CHECK(b.scalar_type() == ScalarType::Char, op, "b must be int8, got ", dtype_name(b.scalar_type()));
  check_group(op, group, b.size(1));
  const Int4Weight weight{b.size(0), b.size(1), group};
  check_group_scale(op, b, scale, weight);
  return weight;
}

// The values are data, so only the kernel's side can look at them.
void pack_into(const char* op, const Tensor& b, const Tensor& scale, const Int4Weight& weight,
               uint8_t* packed) {
  const Tensor values = as_contiguous(op, "a copy of b", b, ScalarType::Char);
  const Tensor scales = as_contiguous(op, "a copy of scale", scale, ScalarType::Float);
  const auto* data = values.const_data_ptr<int8_t>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    GK_CHECK(data[i] >= -8 && data[i] <= 7, op, "b must be in [-8, 7], got ", int(data[i]));
  }
  cpu::int4_gemm_pack({data, scales.const_data_ptr<float>(), packed, weight});
}

// Entry points, in the order of the schemas of greenkernels/ops/int4_gemm_op.py.

Tensor int4_gemm(const Tensor& a, const Tensor& b, const Tensor& scale, int64_t group,
                 const OptionalTensor& bias, const OptionalString& activation,
                 const OptionalTensor& activation_param) {
  constexpr const char* kOp = "int4_gemm";
  check_few_bit_a(kOp, a);
  const Int4Weight weight = check_weight(kOp, b, scale, group);
  check_device(kOp, "b", b, "a", a);
  GK_CHECK(weight.k == a.size(a.dim() - 1), kOp, "b must be [n, k] with the k of a, ", shape(a), ", got ",
           shape(b));
  return within_memory(kOp, weight, [&] {
    const cpu::ScratchLease packed(weight.packed_bytes());
    pack_into(kOp, b, scale, weight, packed.as<uint8_t>());
    return run_few_bits(FewBitCall{kOp, a, bias, activation, activation_param}, packed.as<uint8_t>(), weight,
                        cpu::int4_gemm);
  });
}

Tensor int4_gemm_packed(const Tensor& a, const Tensor& packed, int64_t n, int64_t group,
                        const OptionalTensor& bias, const OptionalString& activation,
                        const OptionalTensor& activation_param) {
  constexpr const char* kOp = "int4_gemm_packed";
  check_few_bit_a(kOp, a);
  const Int4Weight weight{n, a.size(a.dim() - 1), group};
  check_group(kOp, group, weight.k);
  const FewBitCall call{kOp, a, bias, activation, activation_param};
  check_few_bit_packed(call, packed, weight);
  return within_memory(kOp, weight, [&] { return run_few_bits(call, packed, weight, cpu::int4_gemm); });
}

Tensor int4_gemm_pack(const Tensor& b, const Tensor& scale, int64_t group) {
  constexpr const char* kOp = "int4_gemm_pack";
  const Int4Weight weight = check_weight(kOp, b, scale, group);
  return new_few_bit_packed(kOp, b, weight,
                            [&](uint8_t* packed) { pack_into(kOp, b, scale, weight, packed); });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("int4_gemm", TORCH_BOX(&int4_gemm));
  m.impl("int4_gemm_packed", TORCH_BOX(&int4_gemm_packed));
  m.impl("int4_gemm_pack", TORCH_BOX(&int4_gemm_pack));
}

}  // namespace greenkernels::ops
