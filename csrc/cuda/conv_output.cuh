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

// Writes neighbours of out, which have their bias already, from `index` on: `count` of them, or all at once
// if `whole`. Skip is added, ReLU and ReLU6 applied; the other activations are left to who called, for whom a
// switch over them in each place would be most of a kernel. `plain`: values are stored as they are.
template <int kPiece, typename Args>
__device__ inline void write_piece(const Args& args, float* out, float (&values)[kPiece], int64_t index,
                                   int count, bool whole, bool plain = false) {
  if (!plain) {
    const bool lower = args.activation == Activation::kRelu || args.activation == Activation::kRelu6;
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      if (args.skip && i < count) values[i] += float(args.skip_scale) * args.skip[index + i];
      if (lower) values[i] = relu(values[i]);
      if (args.activation == Activation::kRelu6 && values[i] > 6.0f) values[i] = 6.0f;
    }
  }
  if constexpr (kPiece == 4) {
    if (whole) return store4_global(out + index, make_float4(values[0], values[1], values[2], values[3]));
  }
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    if (i < count) out[index + i] = values[i];
  }
}

// Whether write_piece leaves the activation to who called.
__device__ inline bool is_left_by_write_piece(Activation activation) {
  return activation > Activation::kRelu6;
}

}  // namespace greenkernels::cuda
