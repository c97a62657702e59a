// The stages of depthwise_conv2d for one instruction set, and who compiles which of them.
#pragma once

#include "cpu/depthwise_conv2d/plan.h"

namespace greenkernels::cpu {

template <typename T, typename S>
struct DepthwiseStages {
  int64_t tile_rows;  // kTileRows
  void (*pixels)(const DepthwiseJob<T, S>& job, int64_t begin, int64_t end);
  // offsets: DepthwisePlane::tap_offset of every tap. scratch: staged_size() + sums_size() elements.
  void (*planes)(const DepthwiseJob<T, S>& job, int64_t begin, int64_t end, const int64_t* offsets,
                 T* scratch);
};

// Those of the level in use, of forward.cpp and, for maps of 16-bit numbers, of forward_half.cpp.
template <typename S>
DepthwiseStages<float, S> depthwise_half_stages();

}  // namespace greenkernels::cpu
