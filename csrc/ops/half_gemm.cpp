// The torch side of half_gemm: checks and registration. greenkernels/ops/half_gemm_checks.py holds the same
// checks in the same words for fake tensors and for plain torch; tests compare the two.
#include "api/half_gemm.h"

#include <torch/csrc/stable/library.h>

#include "cpu/scratch.h"
#include "ops/few_bits.h"

namespace greenkernels::ops {
namespace {

HalfFormat check_format(const char* op, const char* name, const Tensor& tensor) {
  const ScalarType dtype = tensor.scalar_type();
  GK_CHECK(dtype == ScalarType::Half || dtype == ScalarType::BFloat16, op, name,
           " must be float16 or bfloat16, got ", dtype_name(dtype));
  return dtype == ScalarType::Half ? HalfFormat::kFloat16 : HalfFormat::kBFloat16;
}

HalfWeight check_weight(const char* op, const Tensor& b) {
  GK_CHECK(b.dim() == 2, op, "b must be 2-D, got shape ", shape(b));
  const HalfFormat format = check_format(op, "b", b);
  return {b.size(0), b.size(1), format};
}

const uint16_t* bits_of(const Tensor& tensor) {
  return static_cast<const uint16_t*>(tensor.const_data_ptr());
}

void pack_into(const char* op, const Tensor& b, const HalfWeight& weight, uint16_t* packed) {
  const Tensor plain = as_contiguous(op, "a copy of b", b, b.scalar_type());
  cpu::half_gemm_pack({bits_of(plain), packed, weight});
}

// Calls body, and says what was too large where memory runs out.
template <typename Body>
Tensor within_memory(const char* op, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    fail(op, "out of memory: could not allocate scratch memory");
  }
}

// Entry points, in the order of the schemas of greenkernels/ops/half_gemm_op.py.

Tensor half_gemm(const Tensor& a, const Tensor& b, const OptionalTensor& bias,
                 const OptionalString& activation, const OptionalTensor& activation_param) {
  constexpr const char* kOp = "half_gemm";
  check_few_bit_a(kOp, a);
  const HalfWeight weight = check_weight(kOp, b);
  check_device(kOp, "b", b, "a", a);
  GK_CHECK(weight.k == a.size(a.dim() - 1), kOp, "b must be [n, k] with the k of a, ", shape(a), ", got ",
           shape(b));
  return within_memory(kOp, [&] {
    const cpu::ScratchLease packed(weight.packed_elements() * 2);
    pack_into(kOp, b, weight, packed.as<uint16_t>());
    return run_few_bits(FewBitCall{kOp, a, bias, activation, activation_param}, packed.as<uint16_t>(), weight,
                        cpu::half_gemm);
  });
}

Tensor half_gemm_packed(const Tensor& a, const Tensor& packed, int64_t n, const OptionalTensor& bias,
                        const OptionalString& activation, const OptionalTensor& activation_param) {
  constexpr const char* kOp = "half_gemm_packed";
  check_few_bit_a(kOp, a);
  GK_CHECK(n >= 0 && n < (int64_t{1} << 31), kOp, "n must be in [0, 2^31), got ", n);
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), kOp, "packed must be 1-D and contiguous, got shape ",
           shape(packed));
  const HalfWeight weight{n, a.size(a.dim() - 1), check_format(kOp, "packed", packed)};
  check_device(kOp, "packed", packed, "a", a);
  GK_CHECK(packed.numel() == weight.packed_elements(), kOp, "packed must have ", weight.packed_elements(),
           " elements for n = ", n, " and k = ", weight.k, ", got ", packed.numel());
  const FewBitCall call{kOp, a, bias, activation, activation_param};
  return within_memory(kOp, [&] {
    const bool aligned = reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 64 == 0;
    const auto copy = [&] { return torch::stable::clone(packed); };
    const Tensor used =
        aligned ? packed : allocate(kOp, "an aligned copy of packed", 2.0 * double(packed.numel()), copy);
    return run_few_bits(call, bits_of(used), weight, cpu::half_gemm);
  });
}

Tensor half_gemm_pack(const Tensor& b) {
  constexpr const char* kOp = "half_gemm_pack";
  const HalfWeight weight = check_weight(kOp, b);
  const int64_t elements = weight.packed_elements();
  Tensor packed = allocate(kOp, "the packed weight", 2.0 * double(elements),
                           [&] { return torch::stable::new_empty(b, {elements}, b.scalar_type()); });
  if (elements > 0) {
    cpu::prefer_huge_pages(packed.mutable_data_ptr(), 2 * elements);
    pack_into(kOp, b, weight, static_cast<uint16_t*>(packed.mutable_data_ptr()));
  }
  return packed;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("half_gemm", TORCH_BOX(&half_gemm));
  m.impl("half_gemm_packed", TORCH_BOX(&half_gemm_packed));
  m.impl("half_gemm_pack", TORCH_BOX(&half_gemm_pack));
}

}  // namespace greenkernels::ops
