// What the stages of winograd_conv2d share: the tiles of a chunk, and which of them a thread has.
#pragma once

#include "cuda/conv_output.cuh"

namespace greenkernels::cuda {

inline constexpr int kStagedThreads = 128;

// The tiles [first, first + count) of a call, numbered along rows of the output, then images. V is
// [tap][in_c][count] and M [tap][out_c][count]; in channels_last their last two dimensions are exchanged: so
// neighbouring threads have neighbours of the map.
template <typename T>
struct WinogradChunk {
  T *v, *products;
  int64_t first, count;
};

// Element (tile, channel) of thread `index`, of `channels`.
struct StagedPlace {
  int64_t tile, channel;

  __device__ static StagedPlace of(MapLayout layout, int64_t index, int64_t count, int64_t channels) {
    if (layout == MapLayout::kNchw) return {index % count, index / count};
    return {index / channels, index % channels};
  }
};

// Image, and row and column of the first output pixel, of a tile of width m.
struct StagedTile {
  int64_t image, y, x;

  template <typename Args>
  __device__ static StagedTile at(const Args& args, int m, int64_t tile) {
    const int64_t across = (args.out_w() + m - 1) / m, down = (args.out_h() + m - 1) / m;
    return {tile / across / down, tile / across % down * m, tile % across * m};
  }
};

inline dim3 staged_grid(int64_t size) {
  const int64_t blocks = blocks_for(size, kStagedThreads);
  return dim3(unsigned(blocks < INT32_MAX ? blocks : INT32_MAX));
}

}  // namespace greenkernels::cuda
