// How one depthwise convolution is cut into work for threads. Pure functions of sizes, so that tests can
// check them.
#pragma once

#include <cstdint>

#include "api/depthwise_conv2d.h"

namespace greenkernels::cpu {

// Columns of output that the kernel of channels_last maps computes together: the maps of most mobile networks
// are multiples of 7 wide, and 2 rows of 7 sums leave registers for the taps of two filter rows.
inline constexpr int64_t kTileColumns = 7;

// Outputs that the kernel of NCHW maps computes together, at most: 4 vectors of 16.
inline constexpr int64_t kPlaneRun = 64;

struct DepthwisePlan {
  bool tiles;         // channels_last by tiles.inl; else by pixels.inl, which takes every filter
  int64_t band_rows;  // rows of output in a unit of work
  int64_t bands;      // units in an image, or, in NCHW, in a plane
  int64_t chunk;      // channels in a unit, a multiple of 16; in NCHW 1
  int64_t chunks;
  int64_t units;  // of the whole call
  int64_t grain;  // least number of units that is worth a thread
};

// What all stages share. Strides are in elements.
template <typename T, typename S>
struct DepthwiseJob {
  DepthwiseConv2dArgs<T, S> args;
  DepthwisePlan plan;
  int64_t out_h, out_w;
  bool clamped;  // no skip, and the activation is min(max(v, low), high)
  T low, high;
};

// NCHW: a band of a plane is copied with its padding in it, sorted by the remainders of its rows and columns
// modulo the strides: [row % stride_h][column % stride_w][row / stride_h][column / stride_w]. So the values
// under one tap lie side by side for the outputs of all rows.
struct DepthwisePlane {
  int64_t rows, pitch;  // of one phase
  int64_t phases;
  int64_t sums;  // outputs from the first to the last of a band, `pitch` a row

  template <typename T, typename S>
  explicit DepthwisePlane(const DepthwiseJob<T, S>& job) {
    const auto& args = job.args;
    rows = job.plan.band_rows + (args.filter.kernel_h - 1) * args.dilation_h / args.stride_h;
    pitch = job.out_w + (args.filter.kernel_w - 1) * args.dilation_w / args.stride_w;
    phases = args.stride_h * args.stride_w;
    sums = (job.plan.band_rows - 1) * pitch + job.out_w;
  }
  // Where the values under a tap lie for the first output.
  template <typename Args>
  int64_t tap_offset(const Args& args, int64_t i, int64_t j) const {
    const int64_t y = i * args.dilation_h, x = j * args.dilation_w;
    const int64_t phase = y % args.stride_h * args.stride_w + x % args.stride_w;
    return (phase * rows + y / args.stride_h) * pitch + x / args.stride_w;
  }
  // Elements, with room for the vectors that a run reads and writes past its end.
  int64_t staged_size() const { return phases * rows * pitch + kPlaneRun; }
  int64_t sums_size() const { return sums + kPlaneRun; }
};

template <typename T, typename S>
DepthwiseJob<T, S> depthwise_job(const DepthwiseConv2dArgs<T, S>& args, int64_t tile_rows, int threads);

}  // namespace greenkernels::cpu
