// Sums that the lanes of a warp have parts of, added up: for kernels that share the depth of a product among
// lanes.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

// Adds up each of kCount sums over the lanes of a warp; lane l gets the one of l / (32 / kCount). Halves of
// the sums go to halves of the lanes, so that there are kCount shuffles and not five times as many.
template <typename T, int kCount>
__device__ T sum_over_lanes(T (&sums)[kCount]) {
  const int lane = threadIdx.x % kWarp;
  int live = kCount;
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    if (live > 1) {
      live /= 2;
#pragma unroll
      for (int i = 0; i < kCount / 2; ++i) {
        if (i >= live) continue;
        const bool upper = lane & apart;
        const T mine = upper ? sums[i + live] : sums[i], other = upper ? sums[i] : sums[i + live];
        sums[i] = mine + __shfl_xor_sync(~0u, other, apart);
      }
    } else {
      sums[0] += __shfl_xor_sync(~0u, sums[0], apart);
    }
  }
  return sums[0];
}

}  // namespace greenkernels::cuda
