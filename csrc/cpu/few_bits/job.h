// The part that kernels with weights of a few bits share: what their stages have in common. A kernel says by
// a struct of codes, compiled once per instruction set, what its weight's bits stand for.
#pragma once

#include <cstdint>

namespace greenkernels::cpu {

inline constexpr int64_t kFewBitPanel = 32;  // rows of the weight in a panel

// Rows of a once they are quantized. Values are signed here, 128 below those of the contract, and so is their
// zero point.
struct FewBitRows {
  int8_t* values;   // [m][groups * group], 0 past the depth
  int32_t* starts;  // [m][groups] -offset * the sum of the group's values: takes off what packing adds to b
  float* scale;     // [m] real value of one step
  float* zero;      // [m] what stands for 0
};

// Stages of one instruction set.
template <typename GemmArgs, typename PackArgs>
struct FewBitStages {
  void (*pack_panels)(const PackArgs& args, int64_t begin, int64_t end);
  void (*pack_rows)(const GemmArgs& args, int64_t begin, int64_t end, const FewBitRows& rows);
  void (*panels)(const GemmArgs& args, int64_t begin, int64_t end, const FewBitRows& rows);
};

}  // namespace greenkernels::cpu
