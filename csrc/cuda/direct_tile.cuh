// direct_conv2d on CUDA in float32 as a tiled product: a block owns kPixels x kChannels of out, gathers
// slices of the input and of the packed weight in three buffers of shared memory, two of which are filled
// while one is multiplied. Where tiles are too few for the device, a block has a part of the depth, and a
// second kernel adds up the parts.
#pragma once

#include "cuda/conv_output.cuh"
#include "cuda/direct_input.cuh"

namespace greenkernels::cuda {

inline constexpr int kDirectStages = 3;

// Input_<kPixels, kThreads> gathers; a thread has kLanePixels x kLaneChannels elements.
template <int kPixels_, int kChannels_, int kLanePixels_, int kLaneChannels_, int kBlocks_>
struct DirectTile {
  static constexpr int kPixels = kPixels_, kChannels = kChannels_;
  static constexpr int kLanePixels = kLanePixels_, kLaneChannels = kLaneChannels_;
  static constexpr int kBlocks = kBlocks_;  // that a multiprocessor should hold
  static constexpr int kThreads = kPixels * kChannels / (kLanePixels * kLaneChannels);
  // A warp owns 4 kLanePixels x 8 kLaneChannels, its lanes stand 4 x 8 on it.
  static constexpr int kWarpPixels = 4 * kLanePixels, kWarpChannels = 8 * kLaneChannels;
  static constexpr int kWarpsAcross = kChannels / kWarpChannels;
  static_assert(kPixels % kWarpPixels == 0 && kChannels % kWarpChannels == 0);
};

// How tiles are dealt out: block (x, y, z) owns pixel tile x, channel tile y of all groups' tiles, slices
// z * slices_each and on.
struct DirectPlan {
  int channel_tiles;        // of a group
  int slices, slices_each;  // of the depth: in all, of a block
  int parts;                // of the depth; with more than one, sums go to scratch, one out after the other
  bool vector_out;          // out and scratch allow 16-byte stores
};

// Slices of the packed weight: [depth][kChannels].
template <class Tile, bool kBySlicesOfTaps>
class DirectWeights {
 public:
  __device__ DirectWeights(const DirectConv2dArgs<float>& args, int group, int channel0, int slice) {
    const DirectFilter& filter = args.filter;
    const int depth = int(filter.depth()), in_c = int(filter.group_in_c),
              padded = int(filter.padded_group_out_c());
    if constexpr (kBySlicesOfTaps) {
      const int of_tap = (in_c + kDirectSlice - 1) / kDirectSlice;
      depth0_ = slice / of_tap * in_c + slice % of_tap * kDirectSlice;
      left_ = in_c - slice % of_tap * kDirectSlice;
    } else {
      depth0_ = slice * kDirectSlice;
      left_ = depth - depth0_;
    }
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int k = channel0 + channel(i), panel = k / int(kDirectPanel) * int(kDirectPanel);
      const bool exists = k < padded && row(i) < kDirectSlice;
      widths_[i] = int(filter.group_out_c()) - panel <= int(kDirectHalfPanel) ? int(kDirectHalfPanel)
                                                                              : int(kDirectPanel);
      sources_[i] = args.packed + (int64_t{group} * padded + panel) * depth + k - panel +
                    (depth0_ + row(i)) * widths_[i];
      if (!exists) widths_[i] = 0;
    }
  }

  __device__ void begin(float* slice) const {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      if (kWhole || row(i) < kDirectSlice)
        copy_async<16>(&slice[row(i) * Tile::kChannels + channel(i)], sources_[i],
                       widths_[i] > 0 && row(i) < left_);
    }
  }

  __device__ void advance(const DirectConv2dArgs<float>& args) {
    const int step = kBySlicesOfTaps ? min(left_, kDirectSlice) : kDirectSlice;
    left_ -= kDirectSlice;
    if (kBySlicesOfTaps && left_ <= 0) left_ = int(args.filter.group_in_c);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) sources_[i] += step * widths_[i];
  }

 private:
  static constexpr int kAcross = Tile::kChannels / 4;
  static constexpr int kAll = kDirectSlice * kAcross;  // pieces of a slice
  static constexpr int kPieces = (kAll + Tile::kThreads - 1) / Tile::kThreads;
  static constexpr bool kWhole = kAll % Tile::kThreads == 0;

  __device__ static int row(int i) { return (int(threadIdx.x) + i * Tile::kThreads) / kAcross; }
  __device__ static int channel(int i) { return (int(threadIdx.x) + i * Tile::kThreads) % kAcross * 4; }

  const float* sources_[kPieces];
  int widths_[kPieces];  // of the panel; 0 past the last channel
  int depth0_, left_;    // of the slice; depths until the end of its tap, or of all
};

// The sums of a thread. Its pixels are 4 i + lane row where depths stand inside, else 16 i + 4 lane row +
// {0..3}; its channels 32 j + 4 lane column + {0..3}: so what a warp loads has no bank conflicts.
template <class Tile, bool kDepthInside>
class DirectSums {
 public:
  static constexpr int kPixels = Tile::kLanePixels, kChannels = Tile::kLaneChannels;

  __device__ void add_slice(const float* input, const float* weights) {
    if constexpr (kDepthInside) {
#pragma unroll
      for (int four = 0; four < kDirectSlice; four += 4) {
        float depths[kPixels][4];
#pragma unroll
        for (int i = 0; i < kPixels; ++i) load_four(depths[i], &input[pixel(i) * kDirectSlice + four]);
#pragma unroll
        for (int d = 0; d < 4; ++d) {
          float pixels[kPixels];
#pragma unroll
          for (int i = 0; i < kPixels; ++i) pixels[i] = depths[i][d];
          add_depth(pixels, weights + (four + d) * Tile::kChannels);
        }
      }
    } else {
#pragma unroll
      for (int d = 0; d < kDirectSlice; ++d) {
        float pixels[kPixels];
#pragma unroll
        for (int i = 0; i < kPixels; i += 4) load_four(&pixels[i], &input[d * Tile::kPixels + pixel(i)]);
        add_depth(pixels, weights + d * Tile::kChannels);
      }
    }
  }

  __device__ static int pixel(int i) {
    const int row = int(threadIdx.x) % kWarp / 8;
    const int within = kDepthInside ? i * 4 + row : i / 4 * 16 + row * 4 + i % 4;
    return int(threadIdx.x) / kWarp / Tile::kWarpsAcross * Tile::kWarpPixels + within;
  }
  __device__ static int channel(int j) {
    const int column = int(threadIdx.x) % 8;
    return int(threadIdx.x) / kWarp % Tile::kWarpsAcross * Tile::kWarpChannels + j / 4 * 32 + column * 4 +
           j % 4;
  }

  float sums[kPixels][kChannels] = {};

 private:
  __device__ static void load_four(float* to, const float* from) {
    const float4 four = load4(from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  }

  __device__ void add_depth(const float (&pixels)[kPixels], const float* weights) {
    float channels[kChannels];
#pragma unroll
    for (int j = 0; j < kChannels; j += 4) load_four(&channels[j], &weights[channel(j)]);
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
#pragma unroll
      for (int j = 0; j < kChannels; ++j) sums[i][j] = fmaf(pixels[i], channels[j], sums[i][j]);
    }
  }
};

// Where a block's tile of out is.
struct DirectOut {
  float* out;
  unsigned pixels, plane;    // of all images, of one
  int channels, first, end;  // of all groups; of this tile; past the last of its group

  __device__ int64_t index(unsigned pixel, int channel, bool last) const {
    return last ? int64_t{pixel} * channels + channel
                : (int64_t{pixel / plane} * channels + channel) * plane + pixel % plane;
  }
};

// Writes a thread's sums: as they are to scratch, else with bias, skip and the common activations.
template <class Tile, bool kDepthInside>
__device__ inline void write_direct(const DirectConv2dArgs<float>& args, DirectSums<Tile, kDepthInside>& sums,
                                    const DirectOut& to, unsigned pixel0, bool vector_out, bool plain) {
  using Sums = DirectSums<Tile, kDepthInside>;
  constexpr int kOuter = kDepthInside ? Tile::kLanePixels : Tile::kLaneChannels;
  constexpr int kInner = kDepthInside ? Tile::kLaneChannels : Tile::kLanePixels;
#pragma unroll
  for (int outer = 0; outer < kOuter; ++outer) {
#pragma unroll
    for (int inner = 0; inner < kInner; inner += 4) {
      const int i = kDepthInside ? outer : inner, j = kDepthInside ? inner : outer;
      const unsigned pixel = pixel0 + Sums::pixel(i);
      const int channel = to.first + Sums::channel(j);
      if (pixel >= to.pixels || channel >= to.end) continue;
      const int count = kDepthInside ? to.end - channel : int(min(to.pixels - pixel, 4u));
      float values[4];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        values[n] = kDepthInside ? sums.sums[i][(j + n) % Tile::kLaneChannels]
                                 : sums.sums[(i + n) % Tile::kLanePixels][j];
        const int own = kDepthInside ? min(channel + n, to.end - 1) : channel;
        if (!plain && args.bias) values[n] += args.bias[own];
      }
      if (vector_out) {
        write_piece(args, to.out, values, to.index(pixel, channel, kDepthInside), 4, true, plain);
      } else {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          if (n >= count) continue;
          float one[] = {values[n]};
          const int64_t index =
              kDepthInside ? to.index(pixel, channel + n, true) : to.index(pixel + n, channel, false);
          write_piece(args, to.out, one, index, 1, false, plain);
        }
      }
    }
  }
}

// Applies a rare activation to what this thread wrote.
template <class Tile, bool kDepthInside>
__device__ inline void activate_direct(const DirectConv2dArgs<float>& args, const DirectOut& to,
                                       unsigned pixel0) {
#pragma unroll 1
  for (int n = 0; n < Tile::kLanePixels * Tile::kLaneChannels; ++n) {
    using Sums = DirectSums<Tile, kDepthInside>;
    const unsigned pixel = pixel0 + Sums::pixel(n / Tile::kLaneChannels);
    const int channel = to.first + Sums::channel(n % Tile::kLaneChannels);
    if (pixel >= to.pixels || channel >= to.end) continue;
    float& value = to.out[to.index(pixel, channel, kDepthInside)];
    value = activate(args.activation, value, slope_of(args, channel));
  }
}

template <class Tile, class Input>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    direct_tile_kernel(DirectConv2dArgs<float> args, DirectPlan plan, float* scratch) {
  constexpr int kInputSlice = Tile::kPixels * kDirectSlice, kWeightSlice = Tile::kChannels * kDirectSlice;
  __shared__ __align__(16) float inputs[kDirectStages][kInputSlice];
  __shared__ __align__(16) float all_weights[kDirectStages][kWeightSlice];
  __shared__ typename Input::Table table;
  const unsigned pixel0 = blockIdx.x * Tile::kPixels;
  const int group = blockIdx.y / plan.channel_tiles;
  const int channel0 = blockIdx.y % plan.channel_tiles * Tile::kChannels;
  const int slice0 = blockIdx.z * plan.slices_each, slices = min(plan.slices - slice0, plan.slices_each);
  Input input(args, table, pixel0, group, slice0);
  DirectWeights<Tile, Input::kBySlicesOfTaps> weights(args, group, channel0, slice0);
  DirectSums<Tile, Input::kDepthInside> sums;

#pragma unroll
  for (int stage = 0; stage < kDirectStages - 1; ++stage) {
    if (stage < slices) {
      input.begin(args, inputs[stage]);
      weights.begin(all_weights[stage]);
      input.advance(args);
      weights.advance(args);
    }
    close_group();
  }
  int reading = 0, writing = kDirectStages - 1;
#pragma unroll 1
  for (int slice = 0; slice < slices; ++slice) {
    wait_for_groups<kDirectStages - 2>();
    __syncthreads();  // this slice is there, and the one before it is multiplied by all
    if (slice + kDirectStages - 1 < slices) {
      input.begin(args, inputs[writing]);
      weights.begin(all_weights[writing]);
      input.advance(args);
      weights.advance(args);
    }
    close_group();
    sums.add_slice(inputs[reading], all_weights[reading]);
    reading = reading + 1 == kDirectStages ? 0 : reading + 1;
    writing = writing + 1 == kDirectStages ? 0 : writing + 1;
  }

  const unsigned plane = unsigned(args.out_h()) * unsigned(args.out_w()),
                 pixels = unsigned(args.batch) * plane;
  const int64_t size = int64_t{pixels} * args.filter.out_c;
  const bool plain = plan.parts > 1;
  const int each = int(args.filter.group_out_c());
  const DirectOut to{plain ? scratch + blockIdx.z * size : args.out,
                     pixels,
                     plane,
                     int(args.filter.out_c),
                     group * each + channel0,
                     (group + 1) * each};
  write_direct(args, sums, to, pixel0, plan.vector_out, plain);
  if (!plain && is_left_by_write_piece(args.activation))
    activate_direct<Tile, Input::kDepthInside>(args, to, pixel0);
}

// Adds up the parts of the depth, in their order.
__global__ void __launch_bounds__(256)
    direct_parts_kernel(DirectConv2dArgs<float> args, int parts, const float* scratch) {
  const unsigned plane = unsigned(args.out_h()) * unsigned(args.out_w());
  const unsigned channels = unsigned(args.filter.out_c), size = unsigned(args.batch) * plane * channels;
  const bool last = args.out_layout == MapLayout::kNhwc;
  for (unsigned i = blockIdx.x * 256 + threadIdx.x; i < size; i += gridDim.x * 256) {
    float sum = 0.0f;
    for (int part = 0; part < parts; ++part) sum += scratch[int64_t{part} * size + i];
    args.out[i] = conv_output(args, sum, last ? i % channels : i / plane % channels, i);
  }
}

}  // namespace greenkernels::cuda
