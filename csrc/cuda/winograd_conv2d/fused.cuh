// winograd_conv2d on CUDA, F(2 x 2, 3 x 3) in one kernel: V is made from the input on its way into shared
// memory, the 16 products M = U V are summed in registers, and Y = A^T M A is made on the way to the output.
// A block owns 32 tiles and 64 output channels, each of its eight warps two of the 16 taps, a thread 8 x 8
// sums of each: 128 registers, and one load from shared memory for 16 multiply-adds. As Yan, Wang and Chu,
// "Optimizing Batched Winograd Convolution on GPUs", PPoPP 2020, cut it up; slices come in two buffers here.
#pragma once

#include "cuda/conv_output.cuh"
#include "cuda/winograd_conv2d/fused_slices.cuh"

namespace greenkernels::cuda {

// M of one half of the output channels: [tap][row][lane], 36 floats apart, so that rows four apart meet in
// no bank when 16 bytes are stored. In NCHW rows are channels and lanes tiles, in channels_last the reverse:
// either way the lanes of a warp write neighbours.
inline constexpr int kFusedRow = 36;
using FusedSumsOfHalf = float[kFusedTaps][32][kFusedRow];

union FusedMemory {
  FusedSlice slices[2];
  FusedSumsOfHalf sums;
};

// Dynamic shared memory: the above, then the places of the tiles.
inline constexpr size_t kFusedSharedBytes = sizeof(FusedMemory) + kFusedTiles * sizeof(FusedTile);
static_assert(kFusedSharedBytes <= 99 << 10, "of compute capability 8.6, 8.9 and 12.0");

template <bool kChannelsLast>
class FusedSums {
 public:
  __device__ void add_slice(const FusedSlice& slice) {
#pragma unroll
    for (int d = 0; d < kFusedDepth; ++d) {
#pragma unroll
      for (int tap = 0; tap < 2; ++tap) {
        const auto& u = slice.u[first_tap() + tap][d];
        const auto& v = slice.v[first_tap() + tap][d];
        const float4 u0 = load4(u + 4 * channel_quad()), u1 = load4(u + 32 + 4 * channel_quad());
        const float4 v0 = load4(v + fused_column(4 * tile_quad(), d)),
                     v1 = load4(v + fused_column(4 * tile_quad() + 16, d));
        const float us[] = {u0.x, u0.y, u0.z, u0.w, u1.x, u1.y, u1.z, u1.w};
        const float vs[] = {v0.x, v0.y, v0.z, v0.w, v1.x, v1.y, v1.z, v1.w};
#pragma unroll
        for (int i = 0; i < 8; ++i) {
#pragma unroll
          for (int j = 0; j < 8; ++j) sums_[tap][i][j] = fmaf(us[i], vs[j], sums_[tap][i][j]);
        }
      }
    }
  }

  // Stores the sums of the block's channels 32 half .. 32 half + 31.
  template <int kHalf>
  __device__ void store(FusedSumsOfHalf& to) const {
#pragma unroll
    for (int tap = 0; tap < 2; ++tap) {
      const auto& sums = sums_[tap];
#pragma unroll
      for (int part = 0; part < 8; ++part) {
        float values[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          values[e] =
              kChannelsLast ? sums[4 * kHalf + e][part] : sums[4 * kHalf + part / 2][part % 2 * 4 + e];
        }
        const int tile = 4 * tile_quad() + part / 4 * 16 + part % 4;
        const int row = kChannelsLast ? tile : 4 * channel_quad() + part / 2;
        const int column = kChannelsLast ? 4 * channel_quad() : 4 * tile_quad() + part % 2 * 16;
        store4(&to[first_tap() + tap][row][column], make_float4(values[0], values[1], values[2], values[3]));
      }
    }
  }

 private:
  __device__ static int first_tap() { return 2 * (threadIdx.x / kWarp); }
  // Lanes stand 8 x 4 on channels and tiles; which way round, store() decides: eight lanes in turn store to
  // 32 banks.
  __device__ static int channel_quad() {
    const int lane = threadIdx.x % kWarp;
    return kChannelsLast ? lane % 8 : lane / 4;
  }
  __device__ static int tile_quad() {
    const int lane = threadIdx.x % kWarp;
    return kChannelsLast ? lane / 8 : lane % 4;
  }

  float sums_[2][8][8] = {};  // [tap][channel][tile]
};

// Writes the 2 x 2 outputs of one tile and channel. `pairs`: 8-byte accesses fit the rows of out in NCHW.
__device__ inline void write_tile(const WinogradConv2dArgs<float>& args, const FusedTile& tile, int channel,
                                  const float (&y)[2][2], bool pairs) {
  const int64_t h = args.out_h(), w = args.out_w();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (tile.row + i >= h) return;
    const int64_t at =
        map_index(args.out_layout, tile.image, channel, tile.row + i, tile.column, args.out_c, h, w);
    const int64_t next = args.out_layout == MapLayout::kNchw ? 1 : args.out_c;
    const bool both = tile.column + 1 < w;
    const float first = conv_output(args, y[i][0], channel, at);
    const float second = both ? conv_output(args, y[i][1], channel, at + next) : 0.0f;
    if (pairs) {
      store2_global(args.out + at, first, second);
    } else {
      args.out[at] = first;
      if (both) args.out[at + next] = second;
    }
  }
}

// Block x owns the 64 output channels x % channel_blocks and the 32 tiles x / channel_blocks: neighbours read
// the same input. Tiles are numbered along rows of the output, then images.
template <FusedLoads kLoads>
__global__ void __launch_bounds__(kFusedThreads, 1)
    winograd_fused_kernel(WinogradConv2dArgs<float> args, int channel_blocks, bool pairs) {
  constexpr bool kChannelsLast = kLoads == FusedLoads::kChannelsLast;
  extern __shared__ __align__(16) unsigned char shared[];
  FusedMemory& memory = *reinterpret_cast<FusedMemory*>(shared);
  FusedTile* tiles = reinterpret_cast<FusedTile*>(shared + sizeof(FusedMemory));
  const int first_channel = block_x() % channel_blocks * kFusedChannels;
  if (threadIdx.x < kFusedTiles) {
    tiles[threadIdx.x] =
        FusedTile::at(args, unsigned(block_x() / channel_blocks) * kFusedTiles + threadIdx.x);
  }
  __syncthreads();

  FusedWeight weight(args, first_channel);
  FusedInput<kLoads> input(args, tiles[FusedInput<kLoads>::tile()]);
  FusedSums<kChannelsLast> sums;
  const int in_c = int(args.in_c);
  weight.begin(memory.slices[0], in_c);
  input.begin(in_c);
  input.finish(memory.slices[0]);
  wait_for_copies();
  __syncthreads();
  int stage = 0;
  for (int left = in_c; left > 0; left -= kFusedDepth) {
    const int other = stage ^ 1;
    const bool more = left > kFusedDepth;
    if (more) {
      weight.begin(memory.slices[other], left - kFusedDepth);
      input.begin(left - kFusedDepth);
    }
    sums.add_slice(memory.slices[stage]);
    if (more) input.finish(memory.slices[other]);
    wait_for_copies();
    __syncthreads();  // the other slice is there, and this one is multiplied by all
    stage = other;
  }

  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (half == 0) {
      sums.template store<0>(memory.sums);
    } else {
      sums.template store<1>(memory.sums);
    }
    __syncthreads();
#pragma unroll 1
    for (int row = threadIdx.x / kWarp; row < 32; row += kFusedThreads / kWarp) {
      float m[4][4], y[2][2];
#pragma unroll
      for (int tap = 0; tap < kFusedTaps; ++tap) m[tap / 4][tap % 4] = memory.sums[tap][row][lane];
      winograd_transform<WinogradMatrix::kOutput, 2>(y, m);
      const int channel =
          block_x() % channel_blocks * kFusedChannels + 32 * half + (kChannelsLast ? lane : row);
      const FusedTile tile = tiles[kChannelsLast ? row : lane];
      if (channel < args.out_c && tile.image < args.batch) write_tile(args, tile, channel, y, pairs);
    }
    __syncthreads();  // before the next half overwrites the sums
  }
}

inline FusedLoads fused_loads(const WinogradConv2dArgs<float>& args) {
  if (args.input_layout == MapLayout::kNhwc) return FusedLoads::kChannelsLast;
  const bool pairs = args.w % 2 == 0 && args.pad_w % 2 == 1 && is_aligned(args.input, 8);
  return pairs ? FusedLoads::kPairs : FusedLoads::kSingles;
}

template <FusedLoads kLoads>
cudaError_t launch_fused(const WinogradConv2dArgs<float>& args, cudaStream_t stream) {
  const int64_t tiles = args.batch * blocks_for(args.out_h(), 2) * blocks_for(args.out_w(), 2);
  const int64_t channel_blocks = blocks_for(args.out_c, kFusedChannels);
  const int64_t blocks = channel_blocks * blocks_for(tiles, kFusedTiles);
  if (blocks > INT32_MAX || tiles > INT32_MAX - kFusedTiles) return cudaErrorInvalidConfiguration;
  const bool pairs = args.out_layout == MapLayout::kNchw && args.out_w() % 2 == 0 && is_aligned(args.out, 8);
  const cudaError_t status = allow_shared_bytes(winograd_fused_kernel<kLoads>, kFusedSharedBytes);
  if (status != cudaSuccess) return status;
  return launch(winograd_fused_kernel<kLoads>, dim3(unsigned(blocks)), dim3(kFusedThreads), kFusedSharedBytes,
                stream, args, int(channel_blocks), pairs);
}

inline cudaError_t launch_fused(const WinogradConv2dArgs<float>& args, cudaStream_t stream) {
  switch (fused_loads(args)) {
    case FusedLoads::kChannelsLast:
      return launch_fused<FusedLoads::kChannelsLast>(args, stream);
    case FusedLoads::kPairs:
      return launch_fused<FusedLoads::kPairs>(args, stream);
    case FusedLoads::kSingles:
      return launch_fused<FusedLoads::kSingles>(args, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace greenkernels::cuda
