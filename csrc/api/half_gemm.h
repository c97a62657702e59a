// GEMM with a weight stored in 16 bits, bfloat16 or float16, and float32 arithmetic: half of the bytes where
// reading the weight is what takes the time. The contract every backend obeys:
//
//   out[i, j] = act(sum over d of a[i, d] * b[j, d] + bias[j])
//
// Every number of 16 bits is one of float32, so only the sum is rounded: over k products, in up to 4 parts or
// in slices of kSgemmSlice. Denormal float32 numbers count as 0; those of float16 do not, for they are none
// of float32. Source: Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322,
// 2019.
#pragma once

#include <cstdint>

#include "api/activation.h"
#include "api/half_format.h"

namespace greenkernels {

inline constexpr int64_t kHalfPanel = 32;  // rows of b in a panel

// The packed weight: panels of kHalfPanel rows of b, each [k][kHalfPanel], 0 past the last row. One layout
// for all instruction sets, so that a packed weight survives a change of machine.
struct HalfWeight {
  int64_t n, k;  // all >= 0
  HalfFormat format;

  int64_t panels() const { return (n + kHalfPanel - 1) / kHalfPanel; }
  int64_t packed_elements() const { return panels() * kHalfPanel * k; }
};

struct HalfPackArgs {
  const uint16_t* b;  // [n, k] row-major, bits of the format: the weight of a linear layer, not its transpose
  uint16_t* packed;   // [shape.packed_elements()], 64-byte aligned
  HalfWeight shape;
};

struct HalfGemmArgs {
  const float* a;                 // [m, k] row-major
  const uint16_t* packed;         // written by half_gemm_pack for the same shape
  const float* bias;              // [n], or nullptr for none
  Activation activation;          // applied last
  const float* activation_param;  // [activation_params], or nullptr where it takes none
  int64_t activation_params;      // 0, 1 or n
  float* out;                     // [m, n] row-major; every element is written; aliases no input
  int64_t m;                      // >= 0
  HalfWeight shape;
};

namespace cpu {
// Both run on the intra-op threads with the widest instruction set of this CPU.
void half_gemm_pack(const HalfPackArgs& args);
void half_gemm(const HalfGemmArgs& args);
}  // namespace cpu

}  // namespace greenkernels
