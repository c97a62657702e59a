// Which tile of direct_conv2d a call gets on CUDA, and in how many parts its depth is cut: the cheapest by a
// model of the time. Pure functions of sizes and of the device's multiprocessors.
#pragma once

#include "api/direct_conv2d.h"
#include "cuda/direct_input.cuh"

namespace greenkernels::cuda {

// A tile as the model knows it. Its numbers are microseconds on an H100, fitted to 738 timings of 12 layers
// (docs/performance.md), of which they explain all but 9 %; only their ratios matter.
struct DirectTileCost {
  int pixels, channels;
  int held;        // blocks that a multiprocessor holds
  double least;    // of a slice, however few blocks the multiprocessor has
  double each;     // of a slice, for each of them
  double outside;  // slices that beginning and writing cost as much as
};

// In the order of launch_direct_conv2d.
inline constexpr DirectTileCost kDirectTiles[] = {
    {64, 128, 3, 0.54, 0.43, 3.1},
    {128, 64, 3, 0.53, 0.45, 3.9},
    {64, 64, 5, 0.32, 0.255, 2.0},
    {64, 32, 5, 0.24, 0.18, 0.4},
};
inline constexpr double kDirectPartsCost = 2.6;           // of adding up parts: a launch,
inline constexpr double kDirectPartElementCost = 1.4e-6;  // and writing and reading an element of one part
inline constexpr int kDirectParts[] = {1, 2, 3, 4, 6, 8, 12};  // those that were timed
inline constexpr int kDirectLeastSlices = 6;                   // of a part

// kPixels: 16 bytes of channels at once; kPlanes: columns of NCHW; kTable: few or awkward channels; kNone: no
// tile takes the call.
enum class DirectInput { kNone, kPixels, kPlanes, kTable };

struct DirectChoice {
  DirectInput input = DirectInput::kNone;
  int tile = 0;
  int64_t parts = 1, slices = 0, slices_each = 0;
};

inline DirectInput direct_input_of(const DirectConv2dArgs<float>& args) {
  const DirectFilter& filter = args.filter;
  const double in =
      double(args.batch) * args.in_c() * double(args.h + 2 * args.pad_h) * double(args.w + 2 * args.pad_w);
  const double out = double(args.batch) * filter.out_c * double(args.out_h()) * double(args.out_w());
  const double reach = double(args.dilation_h) * filter.kernel_h + double(args.dilation_w) * filter.kernel_w;
  const double weights = double(filter.padded_group_out_c()) * filter.depth();
  const double groups = double(filter.groups) * blocks_for(filter.group_out_c(), kDirectHalfPanel);
  if (in >= 0x1p30 || out >= 0x1p30 || weights >= 0x1p30 || reach >= 0x1p14 || groups >= 0x1p15 ||
      filter.depth() == 0 || out == 0 || args.input_layout != args.out_layout)
    return DirectInput::kNone;
  const bool last = args.input_layout == MapLayout::kNhwc;
  if (last && filter.group_in_c % 4 == 0 && is_aligned(args.input, 16)) return DirectInput::kPixels;
  if (!last && filter.group_in_c >= kDirectSlice) return DirectInput::kPlanes;
  return filter.depth() <= kDirectTable ? DirectInput::kTable : DirectInput::kNone;
}

inline double direct_time(const DirectConv2dArgs<float>& args, const DirectTileCost& tile, int64_t parts,
                          int64_t slices_each, int64_t multiprocessors) {
  const int64_t pixels = args.batch * args.out_h() * args.out_w();
  const int64_t blocks = blocks_for(pixels, tile.pixels) * args.filter.groups *
                         blocks_for(args.filter.group_out_c(), tile.channels) * parts;
  const int64_t waves = blocks / (multiprocessors * tile.held), rest = blocks % (multiprocessors * tile.held);
  const auto wave = [&](int64_t held) {
    return (double(slices_each) + tile.outside) *
           (held * tile.each > tile.least ? held * tile.each : tile.least);
  };
  double time = waves * wave(tile.held);
  if (rest > 0) time += wave(blocks_for(rest, multiprocessors));
  if (parts > 1)
    time += kDirectPartsCost + kDirectPartElementCost * double(parts) * pixels * args.filter.out_c;
  return time;
}

inline DirectChoice choose_direct_for(const DirectConv2dArgs<float>& args, int64_t multiprocessors) {
  DirectChoice best{direct_input_of(args)};
  if (best.input == DirectInput::kNone) return best;
  best.slices = direct_slices(args.filter, best.input != DirectInput::kTable);
  double least = 0;
  for (int tile = 0; tile < int(sizeof(kDirectTiles) / sizeof(kDirectTiles[0])); ++tile) {
    for (const int64_t wanted : kDirectParts) {
      const int64_t each = blocks_for(best.slices, wanted), parts = blocks_for(best.slices, each);
      if (wanted > 1 && (parts != wanted || each < kDirectLeastSlices)) continue;
      const double time = direct_time(args, kDirectTiles[tile], parts, each, multiprocessors);
      if (least > 0 && time >= least) continue;
      least = time;
      best.tile = tile, best.parts = parts, best.slices_each = each;
    }
  }
  return best;
}

inline cudaError_t choose_direct(const DirectConv2dArgs<float>& args, DirectChoice& choice) {
  int multiprocessors;
  const cudaError_t status = count_multiprocessors(&multiprocessors);
  if (status == cudaSuccess) choice = choose_direct_for(args, multiprocessors);
  return status;
}

// Elements of scratch memory: an out for each part, if there are several.
inline int64_t direct_scratch(const DirectConv2dArgs<float>& args) {
  DirectChoice choice;
  if (choose_direct(args, choice) != cudaSuccess || choice.parts == 1) return 0;
  return choice.parts * args.batch * args.filter.out_c * args.out_h() * args.out_w();
}

}  // namespace greenkernels::cuda
