// Depthwise convolution of float32 maps with square filters of 3, 5 or 7 and strides of 1 or 2, without
// dilation: a thread owns a tile of out and reads each input value under it once, 16 bytes at a time where it
// can. What tiles one above the other share of the input, L1 holds: their threads are neighbours.
#pragma once

#include "api/depthwise_conv2d.h"
#include "cuda/conv_output.cuh"

namespace greenkernels::cuda {

inline constexpr int kDepthwiseTileThreads = 128;

// What a thread computes: kRows x kColumns values of each of kChannels channels.
//   kPlanes: the maps are NCHW, and kChannels is 1; else channels_last, and a thread has kVector channels.
//   kVector: 4 if memory allows 16-byte loads, else 1.
template <int kKernel_, int kStride_, bool kPlanes_, int kVector_, int kRows_, int kColumns_>
struct DepthwiseTile {
  static constexpr int kKernel = kKernel_, kStride = kStride_, kVector = kVector_;
  static constexpr bool kPlanes = kPlanes_;
  static constexpr int kRows = kRows_, kColumns = kColumns_, kChannels = kPlanes ? 1 : kVector;
  static constexpr int kInRows = (kRows - 1) * kStride + kKernel;
  static constexpr int kInColumns = (kColumns - 1) * kStride + kKernel;
  static constexpr int kPiece = kPlanes ? 4 : kVector;  // values of out side by side in memory
  static_assert(!kPlanes || kColumns % kPiece == 0);

  using Sums = float[kRows][kColumns][kChannels];
  using Row = float[kInColumns][kChannels];  // of the input
  // Rows of the filter: [i] is what the input row in hand is multiplied by for the row of out that begins i
  // input rows below the tile's first.
  static constexpr int kHeld = (kRows - 1) * kStride + 1;
  using Weights = float[kHeld][kKernel][kChannels];
};

// Tiles, and how threads are dealt out to them: `chunk` neighbours have groups of channels of one tile, those
// after them have the next tile: in channels_last the one below it, in NCHW, where images are planes, the one
// to the right.
struct DepthwisePlan {
  unsigned tiles_down, tiles_across, tiles;
  unsigned groups, chunk, chunks;  // groups of channels in all; those of a block; blocks for all groups
  bool vector_out;                 // rows of out allow 16-byte stores

  int64_t blocks() const { return blocks_for(tiles, kDepthwiseTileThreads / chunk) * chunks; }
};

// The tile of a thread.
struct DepthwisePlace {
  unsigned image, group;
  int y, x;  // of its first value
  bool exists;

  template <typename Tile>
  __device__ static DepthwisePlace of_thread(const DepthwisePlan& plan) {
    const unsigned block = blockIdx.x, thread = threadIdx.x;
    const unsigned tiles_here = kDepthwiseTileThreads / plan.chunk;
    const unsigned group = block % plan.chunks * plan.chunk + thread % plan.chunk;
    const unsigned tile = block / plan.chunks * tiles_here + thread / plan.chunk;
    // A warp reads as much side by side as there is.
    const unsigned fast = Tile::kPlanes ? plan.tiles_across : plan.tiles_down;
    const unsigned slow = Tile::kPlanes ? plan.tiles_down : plan.tiles_across;
    const unsigned line = tile / fast, in_line = tile % fast, line_of_image = line % slow;
    const unsigned down = Tile::kPlanes ? line_of_image : in_line;
    const unsigned across = Tile::kPlanes ? in_line : line_of_image;
    return {line / slow, group, int(down) * Tile::kRows, int(across) * Tile::kColumns,
            thread / plan.chunk < tiles_here && tile < plan.tiles && group < plan.groups};
  }
};

// kCount neighbours in memory, or zeros.
template <int kCount>
__device__ inline void load_inside(float* to, const float* from, bool inside) {
  if constexpr (kCount == 4) {
    const float4 four = inside ? load4(from) : make_float4(0, 0, 0, 0);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else {
    static_assert(kCount == 1);
    *to = inside ? *from : 0.0f;
  }
}

// The input under a tile, row by row.
template <typename Tile>
class DepthwiseInput {
 public:
  __device__ DepthwiseInput(const DepthwiseConv2dArgs<float>& args, const DepthwisePlace& place)
      : step_(Tile::kPlanes ? 1 : int(args.filter.channels)), w_(int(args.w)), h_(int(args.h)) {
    y_ = place.y * Tile::kStride - int(args.pad_h);
    x_ = place.x * Tile::kStride - (kAligned ? 4 : int(args.pad_w));
    const int64_t first = int64_t{place.image} * h_ * w_ + y_ * w_ + x_;
    row_ = args.input + first * step_ + (Tile::kPlanes ? 0 : int(place.group) * Tile::kChannels);
  }

  __device__ void next_row(typename Tile::Row& values) {
    const bool row_inside = unsigned(y_) < unsigned(h_);
    if constexpr (kAligned) {
      float pieces[kPieces][4];
#pragma unroll
      for (int i = 0; i < kPieces; ++i)
        load_inside<4>(pieces[i], row_ + 4 * i, row_inside && unsigned(x_ + 4 * i) < unsigned(w_));
#pragma unroll
      for (int i = 0; i < Tile::kInColumns; ++i) values[i][0] = pieces[(i + kLead) / 4][(i + kLead) % 4];
    } else {
#pragma unroll
      for (int i = 0; i < Tile::kInColumns; ++i)
        load_inside<Tile::kChannels>(values[i], row_ + i * step_,
                                     row_inside && unsigned(x_ + i) < unsigned(w_));
    }
    row_ += w_ * step_;
    ++y_;
  }

 private:
  // Rows of planes are read in aligned pieces of four, which lie inside of the map or outside: its width is a
  // multiple of four, and the padding half of the filter.
  static constexpr bool kAligned = Tile::kPlanes && Tile::kVector == 4;
  static constexpr int kLead = 4 - Tile::kKernel / 2;  // values of the first piece that the tile does not see
  static constexpr int kPieces = (kLead + Tile::kInColumns + 3) / 4;

  const float* row_;
  int step_, w_, h_, y_, x_;
};

// Adds what the tile's row `row` of the input gives. Taps outside of the filter are left out, not multiplied
// by 0: the input may be infinite.
template <typename Tile>
__device__ inline void add_row(typename Tile::Sums& sums, const typename Tile::Row& values,
                               const typename Tile::Weights& weights, int row) {
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
    const int up = r * Tile::kStride;
    if (row < up || row - up >= Tile::kKernel) continue;
#pragma unroll
    for (int tap = 0; tap < Tile::kKernel; ++tap) {
#pragma unroll
      for (int x = 0; x < Tile::kColumns; ++x) {
#pragma unroll
        for (int c = 0; c < Tile::kChannels; ++c)
          sums[r][x][c] = fmaf(weights[up][tap][c], values[x * Tile::kStride + tap][c], sums[r][x][c]);
      }
    }
  }
}

// The sums of a tile.
template <typename Tile>
__device__ inline void add_rows(typename Tile::Sums& sums, const DepthwiseConv2dArgs<float>& args,
                                const DepthwisePlace& place, const float* taps) {
  // Filters of 3 as straight code; larger ones would be too much of it.
  constexpr int kUnroll = Tile::kKernel == 3 ? Tile::kInRows : 1;
  const int64_t tap_step = args.filter.padded_channels();
  DepthwiseInput<Tile> input(args, place);
  typename Tile::Weights weights = {};
#pragma unroll kUnroll
  for (int row = 0; row < Tile::kInRows; ++row) {
    typename Tile::Row values;
    input.next_row(values);
#pragma unroll
    for (int up = Tile::kHeld - 1; up >= 0; --up) {
#pragma unroll
      for (int tap = 0; tap < Tile::kKernel; ++tap) {
        if (up > 0) {
#pragma unroll
          for (int c = 0; c < Tile::kChannels; ++c) weights[up][tap][c] = weights[up - 1][tap][c];
        } else if (row < Tile::kKernel) {
          load_inside<Tile::kChannels>(weights[0][tap], taps + tap * tap_step, true);
        }
      }
    }
    taps += Tile::kKernel * tap_step;
    add_row<Tile>(sums, values, weights, row);
  }
}

template <typename Tile>
__device__ inline void write_tile(const DepthwiseConv2dArgs<float>& args, const typename Tile::Sums& sums,
                                  const DepthwisePlace& place, int channel, bool vector_out) {
  const int h = int(args.out_h()), w = int(args.out_w()),
            step = Tile::kPlanes ? 1 : int(args.filter.channels);
  const int64_t first = int64_t{place.image} * h * w * step + (Tile::kPlanes ? 0 : channel);
  constexpr int kAcross = Tile::kPlanes ? Tile::kPiece : 1;  // columns of a piece
  float bias[Tile::kChannels];
#pragma unroll
  for (int c = 0; c < Tile::kChannels; ++c) bias[c] = args.bias ? args.bias[channel + c] : 0.0f;
#pragma unroll
  for (int r = 0; r < Tile::kRows; ++r) {
#pragma unroll
    for (int x = 0; x < Tile::kColumns; x += kAcross) {
      if (place.y + r >= h || place.x + x >= w) continue;
      const int64_t index = first + ((place.y + r) * w + place.x + x) * step;
      const int count = Tile::kPlanes ? min(Tile::kPiece, w - place.x - x) : Tile::kPiece;
      float values[Tile::kPiece];
#pragma unroll
      for (int i = 0; i < Tile::kPiece; ++i)
        values[i] = Tile::kPlanes ? sums[r][x + i % kAcross][0] + bias[0]
                                  : sums[r][x][i % Tile::kChannels] + bias[i % Tile::kChannels];
      write_piece(args, args.out, values, index, count, vector_out);
    }
  }
}

// Applies a rare activation to what this thread wrote. Not in registers: a switch for each of them would be
// most of the kernel.
template <typename Tile>
__device__ inline void activate_tile(const DepthwiseConv2dArgs<float>& args, const DepthwisePlace& place,
                                     int channel) {
  const int h = int(args.out_h()), w = int(args.out_w()),
            step = Tile::kPlanes ? 1 : int(args.filter.channels);
  const int64_t first = int64_t{place.image} * h * w * step + (Tile::kPlanes ? 0 : channel);
#pragma unroll 1
  for (int i = 0; i < Tile::kRows * Tile::kColumns * Tile::kChannels; ++i) {
    const int c = i % Tile::kChannels, pixel = i / Tile::kChannels;
    const int y = place.y + pixel / Tile::kColumns, x = place.x + pixel % Tile::kColumns;
    if (y >= h || x >= w) continue;
    float& value = args.out[first + (y * w + x) * step + c];
    value = activate(args.activation, value, slope_of(args, channel + c));
  }
}

// Whether there is a tile for this call: its filter, sizes that 32 bits index, one layout.
inline bool depthwise_has_tiles(const DepthwiseConv2dArgs<float>& args) {
  const DepthwiseFilter& filter = args.filter;
  const int64_t kernel = filter.kernel_w, stride = args.stride_w;
  const double image = double(args.h + 2 * args.pad_h) * double(args.w + 2 * args.pad_w) * filter.channels;
  const double maps = double(args.batch) * filter.channels * args.out_h() * args.out_w();
  return (kernel == 3 || kernel == 5 || kernel == 7) && filter.kernel_h == kernel && stride <= 2 &&
         args.stride_h == stride && args.dilation_h == 1 && args.dilation_w == 1 &&
         args.input_layout == args.out_layout && image < 0x1p30 && maps > 0 && maps < 0x1p33;
}

// Whether the input allows 16-byte loads, as DepthwiseTile::kVector of 4 wants them.
inline bool depthwise_loads_vectors(const DepthwiseConv2dArgs<float>& args) {
  if (!is_aligned(args.input, 16)) return false;
  return args.input_layout == MapLayout::kNchw ? args.w % 4 == 0 && args.pad_w == args.filter.kernel_w / 2
                                               : args.filter.channels % 4 == 0;
}

// At most `most` groups of channels a block: 256 bytes of a pixel, so that the tiles of a block are many
// enough to share what they read.
template <typename Tile>
DepthwisePlan depthwise_plan(const DepthwiseConv2dArgs<float>& args) {
  constexpr int64_t most = 64 / Tile::kChannels;
  const int64_t channels = args.filter.channels;
  const int64_t down = blocks_for(args.out_h(), Tile::kRows),
                across = blocks_for(args.out_w(), Tile::kColumns);
  const int64_t images = Tile::kPlanes ? args.batch * channels : args.batch;
  const int64_t groups = Tile::kPlanes ? 1 : blocks_for(channels, Tile::kChannels);
  const int64_t chunks = blocks_for(groups, most), chunk = blocks_for(groups, chunks);
  const int64_t run = Tile::kPlanes ? args.out_w() : channels;  // of values side by side in out
  return {unsigned(down),  unsigned(across), unsigned(images * down * across),        unsigned(groups),
          unsigned(chunk), unsigned(chunks), run % 4 == 0 && is_aligned(args.out, 16)};
}

template <typename Tile, int kBlocks>
__global__ void __launch_bounds__(kDepthwiseTileThreads, kBlocks)
    depthwise_tile_kernel(DepthwiseConv2dArgs<float> args, DepthwisePlan plan) {
  const auto place = DepthwisePlace::of_thread<Tile>(plan);
  if (!place.exists) return;
  const int channel =
      Tile::kPlanes ? int(place.image % unsigned(args.filter.channels)) : int(place.group) * Tile::kChannels;
  typename Tile::Sums sums = {};
  add_rows<Tile>(sums, args, place, args.packed + channel);
  write_tile<Tile>(args, sums, place, channel, plan.vector_out);
  if (is_left_by_write_piece(args.activation)) activate_tile<Tile>(args, place, channel);
}

}  // namespace greenkernels::cuda
