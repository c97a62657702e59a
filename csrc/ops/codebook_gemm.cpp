// The torch side of codebook_gemm: checks and registration. greenkernels/ops/codebook_gemm_checks.py holds
// the same checks in the same words for fake tensors and for plain torch; tests compare the two.
#include "api/codebook_gemm.h"

#include <torch/csrc/stable/library.h>

#include "api/int8_gemm.h"
#include "cpu/scratch.h"
#include "ops/few_bits.h"

namespace greenkernels::ops {
namespace {

void check_sizes(const char* op, int64_t group, int64_t k) {
  GK_CHECK(codebook_group_fits(group), op, "group must be a power of two from 32 to 1024, got ", group);
  GK_CHECK(k <= kInt8MaxDepth, op, "k must be at most ", kInt8MaxDepth, ", got ", k);
}

// b, table and scale, of which the shape is returned.
CodebookWeight check_codebook(const char* op, const Tensor& b, const Tensor& table, const Tensor& scale,
                              int64_t group) {
  GK_CHECK(b.dim() == 2, op, "b must be 2-D, got shape ", shape(b));
  GK_CHECK(b.scalar_type() == ScalarType::Byte, op, "b must be uint8, got ", dtype_name(b.scalar_type()));
  check_sizes(op, group, b.size(1));
  const bool fits = table.dim() == 1 && (table.size(0) == 4 || table.size(0) == 16);
  GK_CHECK(fits, op, "table must have shape [4] or [16], got ", shape(table));
  GK_CHECK(table.scalar_type() == ScalarType::Char, op, "table must be int8, got ",
           dtype_name(table.scalar_type()));
  check_device(op, "table", table, "b", b);
  const CodebookWeight weight{b.size(0), b.size(1), group, table.size(0) == 4 ? 2 : 4};
  check_group_scale(op, b, scale, weight);
  return weight;
}

// The values are data, so only the kernel's side can look at them.
void pack_into(const char* op, const Tensor& b, const Tensor& table, const Tensor& scale,
               const CodebookWeight& weight, uint8_t* packed) {
  const Tensor places = as_contiguous(op, "a copy of b", b, ScalarType::Byte);
  const Tensor entries = as_contiguous(op, "a copy of table", table, ScalarType::Char);
  const Tensor scales = as_contiguous(op, "a copy of scale", scale, ScalarType::Float);
  const auto* at = places.const_data_ptr<uint8_t>();
  const auto* entry = entries.const_data_ptr<int8_t>();
  for (int64_t i = 0; i < entries.numel(); ++i) {
    GK_CHECK(entry[i] >= kCodebookLeast && entry[i] <= kCodebookMost, op, "table must be in [-64, 63], got ",
             int(entry[i]));
  }
  for (int64_t i = 0; i < places.numel(); ++i) {
    GK_CHECK(at[i] < entries.numel(), op, "b must be in [0, ", entries.numel() - 1, "], got ", int(at[i]));
  }
  cpu::codebook_gemm_pack({at, entry, scales.const_data_ptr<float>(), packed, weight});
}

// Entry points, in the order of the schemas of greenkernels/ops/codebook_gemm_op.py.

Tensor codebook_gemm(const Tensor& a, const Tensor& b, const Tensor& table, const Tensor& scale,
                     int64_t group, const OptionalTensor& bias, const OptionalString& activation,
                     const OptionalTensor& activation_param) {
  constexpr const char* kOp = "codebook_gemm";
  check_few_bit_a(kOp, a);
  const CodebookWeight weight = check_codebook(kOp, b, table, scale, group);
  check_device(kOp, "b", b, "a", a);
  GK_CHECK(weight.k == a.size(a.dim() - 1), kOp, "b must be [n, k] with the k of a, ", shape(a), ", got ",
           shape(b));
  return within_memory(kOp, weight, [&] {
    const cpu::ScratchLease packed(weight.packed_bytes());
    pack_into(kOp, b, table, scale, weight, packed.as<uint8_t>());
    return run_few_bits(FewBitCall{kOp, a, bias, activation, activation_param}, packed.as<uint8_t>(), weight,
                        cpu::codebook_gemm);
  });
}

Tensor codebook_gemm_packed(const Tensor& a, const Tensor& packed, int64_t n, int64_t group, int64_t bits,
                            const OptionalTensor& bias, const OptionalString& activation,
                            const OptionalTensor& activation_param) {
  constexpr const char* kOp = "codebook_gemm_packed";
  check_few_bit_a(kOp, a);
  const CodebookWeight weight{n, a.size(a.dim() - 1), group, bits};
  check_sizes(kOp, group, weight.k);
  GK_CHECK(codebook_bits_fit(bits), kOp, "bits must be 2 or 4, got ", bits);
  const FewBitCall call{kOp, a, bias, activation, activation_param};
  check_few_bit_packed(call, packed, weight);
  return within_memory(kOp, weight, [&] { return run_few_bits(call, packed, weight, cpu::codebook_gemm); });
}

Tensor codebook_gemm_pack(const Tensor& b, const Tensor& table, const Tensor& scale, int64_t group) {
  constexpr const char* kOp = "codebook_gemm_pack";
  const CodebookWeight weight = check_codebook(kOp, b, table, scale, group);
  return new_few_bit_packed(kOp, b, weight,
                            [&](uint8_t* packed) { pack_into(kOp, b, table, scale, weight, packed); });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("codebook_gemm", TORCH_BOX(&codebook_gemm));
  m.impl("codebook_gemm_packed", TORCH_BOX(&codebook_gemm_packed));
  m.impl("codebook_gemm_pack", TORCH_BOX(&codebook_gemm_pack));
}

}  // namespace greenkernels::ops
