// What the fused Winograd kernel brings into shared memory: slices of U, and of V, transformed on the way.
#pragma once

#include "api/winograd_conv2d.h"
#include "cuda/winograd_conv2d/transform.cuh"

namespace greenkernels::cuda {

inline constexpr int kFusedThreads = 256;
inline constexpr int kFusedTaps = 16;
inline constexpr int kFusedTiles = 32;  // 2 x 2 tiles of output that a block owns
inline constexpr int kFusedChannels =
    64;                                // output channels that a block owns: two panels of the packed weight
inline constexpr int kFusedDepth = 8;  // input channels of a slice: in channels_last one sector of a pixel
static_assert(kFusedChannels == 2 * kWinogradPanel && kFusedTiles * kFusedDepth == kFusedThreads);

// One slice. Row (tap, c) of v holds tile t at (t + 4 c) % 32: so the eight channels and four tiles of a warp
// that reads channels_last fall into 32 banks.
struct FusedSlice {
  float u[kFusedTaps][kFusedDepth][kFusedChannels];
  float v[kFusedTaps][kFusedDepth][kFusedTiles];
};

__device__ inline int fused_column(int tile, int channel) { return (tile + 4 * channel) % kFusedTiles; }

// Where a tile lies: the image, and row and column of its first output pixel. `image` is batch past the last.
struct FusedTile {
  int image, row, column;

  template <typename Args>
  __device__ static FusedTile at(const Args& args, unsigned index) {
    const unsigned across = unsigned(args.out_w() + 1) / 2, down = unsigned(args.out_h() + 1) / 2;
    const unsigned row = index / across;
    const int image = int(row / down);
    return {image < args.batch ? image : int(args.batch), int(2 * (row % down)), int(2 * (index % across))};
  }
};

// The share of a thread in the slices of U: 16-byte pieces of four taps in each of two panels.
class FusedWeight {
 public:
  __device__ FusedWeight(const WinogradConv2dArgs<float>& args, int first_channel) {
    const int piece = threadIdx.x % kPieces, padded = int(winograd_padded_out_c(args.out_c));
#pragma unroll
    for (int panel = 0; panel < 2; ++panel) {
      const int first = first_channel + panel * int(kWinogradPanel);
      // The last panel may be half as wide, and what lies past it is 0.
      const bool half = padded - first < kWinogradPanel;
      const int width = int(half ? kWinogradHalfPanel : kWinogradPanel), quads = width / 4;
      const bool wanted = first < padded && piece < quads * kFusedDepth;
      channel_[panel] = piece / quads % kFusedDepth;
      const int quad = piece % quads + (piece < quads * kFusedDepth ? 0 : quads);
      target_[panel] = 4 * ((kFusedDepth * tap() + channel_[panel]) * kFusedChannels +
                            panel * int(kWinogradPanel) + 4 * quad);
      tap_stride_[panel] = args.in_c * width;
      source_[panel] = args.packed + int64_t{first} * kFusedTaps * args.in_c + tap() * tap_stride_[panel] +
                       channel_[panel] * width + 4 * quad;
      if (!wanted) channel_[panel] = INT32_MAX;
      step_[panel] = kFusedDepth * width;
    }
  }

  // Starts to copy the next slice, of which `left` channels are within the input; 0 for the rest.
  __device__ void begin(FusedSlice& slice, int left) {
    const unsigned to = shared_address(&slice.u);
#pragma unroll
    for (int panel = 0; panel < 2; ++panel) {
      const float* from = source_[panel];
      const bool inside = channel_[panel] < left;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        copy_async<16>(to + target_[panel] + i * kTapBytes, from, inside);
        from += kTapsAtOnce * tap_stride_[panel];
      }
      source_[panel] += step_[panel];
    }
  }

 private:
  static constexpr int kPieces = kFusedDepth * kWinogradPanel / 4;  // of 16 bytes, in a tap of a panel
  static constexpr int kTapsAtOnce = kFusedThreads / kPieces;       // that the threads copy
  static constexpr int kTapBytes = kTapsAtOnce * int(sizeof(FusedSlice::u) / kFusedTaps);  // to the next ones

  __device__ static int tap() { return threadIdx.x / kPieces; }

  const float* source_[2];
  int64_t tap_stride_[2];
  int target_[2], channel_[2], step_[2];
};

// How a thread reads a row of its 4 x 4 patch of the input. In channels_last neighbouring threads have
// neighbouring channels. In NCHW they have neighbouring tiles, which share columns: where rows are of pairs
// that 8-byte loads fit, and padding is odd as it mostly is, a thread loads the two in the middle and gets
// the others from its neighbours, so that all of each sector is used.
enum class FusedLoads { kChannelsLast, kSingles, kPairs };

// The share of a thread in the slices of V: one channel of one tile.
template <FusedLoads kLoads>
class FusedInput {
 public:
  __device__ FusedInput(const WinogradConv2dArgs<float>& args, const FusedTile& tile) {
    const int row0 = tile.row - int(args.pad_h), column0 = tile.column - int(args.pad_w);
    const bool last = kLoads == FusedLoads::kChannelsLast;
    row_stride_ = args.w * (last ? args.in_c : 1);
    column_stride_ = last ? args.in_c : 1;
    step_ = kFusedDepth * (last ? 1 : args.h * args.w);
    const int64_t plane = args.h * args.w;
    source_ = args.input + tile.image * args.in_c * plane + channel() * (last ? 1 : plane) +
              row0 * row_stride_ + column0 * column_stride_;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (tile.image < args.batch && unsigned(row0 + i) < unsigned(args.h)) rows_ |= 1u << i;
      if (unsigned(column0 + i) < unsigned(args.w)) columns_ |= 1u << i;
    }
  }

  __device__ static int channel() {
    return kLoads == FusedLoads::kChannelsLast ? threadIdx.x % kFusedDepth : threadIdx.x / kWarp;
  }
  __device__ static int tile() {
    return kLoads == FusedLoads::kChannelsLast ? threadIdx.x / kFusedDepth : threadIdx.x % kWarp;
  }

  // Starts to load the patch of the next slice, of which `left` channels are within the input; 0 for the
  // rest. Nothing here waits for what is loaded: the multiplication of the slice before hides that.
  __device__ void begin(int left) {
    const unsigned rows = channel() < left ? rows_ : 0;
    const float* from = source_;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      load_row(patch_[i], from, rows >> i & 1);
      from += row_stride_;
    }
    source_ += step_;
  }

  // Stores what begin() loaded, transformed.
  __device__ void finish(FusedSlice& slice) {
    if constexpr (kLoads == FusedLoads::kPairs) {
#pragma unroll
      for (int i = 0; i < 4; ++i) take_outer_columns(patch_[i]);
    }
    float v[4][4];
    winograd_transform<WinogradMatrix::kInput, 2>(v, patch_);
    float* to = &slice.v[0][channel()][fused_column(tile(), channel())];
#pragma unroll
    for (int tap = 0; tap < kFusedTaps; ++tap) to[tap * kFusedDepth * kFusedTiles] = v[tap / 4][tap % 4];
  }

 private:
  __device__ void load_row(float (&row)[4], const float* from, bool inside) const {
    if constexpr (kLoads == FusedLoads::kPairs) {
      float2 pair = make_float2(0, 0);
      if (inside && (columns_ & 2)) pair = *reinterpret_cast<const float2*>(from + 1);
      row[1] = pair.x, row[2] = pair.y;
      // The outer columns are a neighbour's, but for the ends of the warp.
      row[0] = inside && first_lane() && (columns_ & 1) ? from[0] : 0.0f;
      row[3] = inside && last_lane() && (columns_ & 8) ? from[3] : 0.0f;
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        row[j] = inside && (columns_ >> j & 1) ? *from : 0.0f;
        from += column_stride_;
      }
    }
  }

  // kPairs: gets them from the neighbours. Tiles of one row of the map follow each other, so a neighbour is
  // missing only past the warp's ends; across a border the column is outside of the map. A row outside of it
  // is 0 in a neighbour of the same row too.
  __device__ void take_outer_columns(float (&row)[4]) const {
    const float left = __shfl_up_sync(~0u, row[2], 1), right = __shfl_down_sync(~0u, row[1], 1);
    if (!first_lane() && (columns_ & 1)) row[0] = left;
    if (!last_lane() && (columns_ & 8)) row[3] = right;
  }
  __device__ static bool first_lane() { return tile() == 0; }
  __device__ static bool last_lane() { return tile() == kFusedTiles - 1; }

  const float* source_;  // of the patch's first element, which may lie outside of the map
  int64_t row_stride_, column_stride_, step_;
  unsigned rows_ = 0, columns_ = 0;  // a bit for each that lies within the map
  float patch_[4][4];                // from begin() to finish()
};

}  // namespace greenkernels::cuda
