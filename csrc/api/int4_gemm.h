// 4-bit GEMM: 8-bit integers of quantized rows times 4-bit integers of a weight, one scale for each group of
// the depth. The contract every backend obeys, with g(d) = d / group:
//
//   out[i, j] = act(row_scale[i] * (sum over d of scale[j, g(d)] * (qa[i, d] - zero_point[i]) * b[j, d]) +
//   bias[j])
//
// b is in [-8, 7]. qa, row_scale and zero_point are found from each row of a and quantize it, as
// api/int8_gemm.h says of a float a without row_scale; a row that holds a NaN or an infinity comes out as
// NaN. Sums within a group are exact integers; each is rounded to float32 once, and groups are added up in
// float32.
//
// Sources: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
// Transformers", ICLR 2023 (4 bits, groups of one scale); Dettmers et al., "LLM.int8()", NeurIPS 2022 (one
// scale for each row of a).
#pragma once

#include <cstdint>

#include "api/activation.h"

namespace greenkernels {

inline constexpr int64_t kInt4Panel = 32;  // rows of b in a panel

inline constexpr bool int4_group_fits(int64_t group) { return group == 32 || group == 64 || group == 128; }

// The packed weight: panels of kInt4Panel rows of b, each, for every group of the depth,
//   uint16 [kInt4Panel], the scales as bfloat16, then uint8 [group / 8][kInt4Panel][4]: in byte i of an octet
//   of the depth, b + 8 of its element i in the low four bits and of its element 4 + i in the high ones,
// and behind the groups float [kInt4Panel], the sum of scale * b over the row. Past the ends of b b is 0. One
// layout for all instruction sets, so that a packed weight survives a change of machine.
struct Int4Weight {
  int64_t n, k;   // all >= 0, k < 2^24
  int64_t group;  // 32, 64 or 128

  int64_t panels() const { return (n + kInt4Panel - 1) / kInt4Panel; }
  int64_t groups() const { return (k + group - 1) / group; }
  int64_t group_bytes() const { return kInt4Panel * (2 + group / 2); }
  int64_t panel_bytes() const { return groups() * group_bytes() + kInt4Panel * 4; }
  int64_t packed_bytes() const { return panels() * panel_bytes(); }
};

struct Int4PackArgs {
  const int8_t* b;     // [n, k] row-major, in [-8, 7]: the weight of a linear layer, not its transpose
  const float* scale;  // [n, groups] real value of one step of b; rounded to bfloat16
  uint8_t* packed;     // [shape.packed_bytes()], 64-byte aligned
  Int4Weight shape;
};

struct Int4GemmArgs {
  const float* a;                 // [m, k] row-major
  const uint8_t* packed;          // written by int4_gemm_pack for the same shape
  const float* bias;              // [n], or nullptr for none
  Activation activation;          // applied last
  const float* activation_param;  // [activation_params], or nullptr where it takes none
  int64_t activation_params;      // 0, 1 or n
  float* out;                     // [m, n] row-major; every element is written; aliases no input
  int64_t m;                      // >= 0
  Int4Weight shape;
};

namespace cpu {
// Both run on the intra-op threads with the widest instruction set of this CPU.
void int4_gemm_pack(const Int4PackArgs& args);
void int4_gemm(const Int4GemmArgs& args);
}  // namespace cpu

}  // namespace greenkernels
