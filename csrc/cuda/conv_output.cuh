// What every convolution does to a sum before it is stored: bias, skip, activation.
#pragma once

#include "api/map_layout.h"
#include "cuda/activation.cuh"

namespace greenkernels::cuda {

// Index of element (n, c, y, x) of a map [batch, channels, h, w].
__device__ inline int64_t map_index(MapLayout layout, int64_t n, int64_t c, int64_t y, int64_t x,
                                    int64_t channels, int64_t h, int64_t w) {
  return layout == MapLayout::kNchw ? ((n * channels + c) * h + y) * w + x
                                    : ((n * h + y) * w + x) * channels + c;
}

// Slope of channel c.
template <typename Args>
__device__ inline auto slope_of(const Args& args, int64_t c) {
  using T = decltype(args.activation_param[0] + 0);
  return args.activation_params ? args.activation_param[args.activation_params > 1 ? c : 0] : T(0);
}

// bias + skip_scale * skip + sum for the element at `index` of out, of channel c.
template <typename T, typename Args>
__device__ inline T with_bias_and_skip(const Args& args, T sum, int64_t c, int64_t index) {
  if (args.bias) sum += args.bias[c];
  return args.skip ? sum + T(args.skip_scale) * args.skip[index] : sum;
}

// The activation of that.
template <typename T, typename Args>
__device__ inline T conv_output(const Args& args, T sum, int64_t c, int64_t index) {
  return activate(args.activation, with_bias_and_skip(args, sum, c, index), slope_of(args, c));
}

}  // namespace greenkernels::cuda
