// What the stages of int4_gemm share: rows of a once they are quantized.
#pragma once

#include <cstdint>

#include "api/int4_gemm.h"

namespace greenkernels::cpu {

// Quantized values are signed here, 128 below those of the contract, and so is their zero point.
struct Int4Rows {
  int8_t* values;   // [m][groups * group], 0 past the depth
  int32_t* starts;  // [m][groups] -8 * the sum of the group's values: takes the 8 off that packing adds to b
  float* scale;     // [m] real value of one step
  float* zero;      // [m] what stands for 0
};

// Stages of one instruction set.
struct Int4Stages {
  void (*pack_panels)(const Int4PackArgs& args, int64_t begin, int64_t end);
  void (*pack_rows)(const Int4GemmArgs& args, int64_t begin, int64_t end, const Int4Rows& rows);
  void (*panels)(const Int4GemmArgs& args, int64_t begin, int64_t end, const Int4Rows& rows);
};

}  // namespace greenkernels::cpu
