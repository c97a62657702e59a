// How a direct convolution of channels_last maps is cut into strips: rows of output pixels, each in blocks
// for a micro-kernel that reads the input where it lies, or a copy of its rows with the padding in it.
// Nothing is gathered tap by tap. Pure functions of sizes, so that tests can check them.
#pragma once

#include <cstdint>

#include "cpu/direct_conv2d/plan.h"
#include "cpu/isa.h"

namespace greenkernels::cpu {

// Blocks that go through all slices of a panel before the next ones do.
inline constexpr int64_t kStripRun = 8;

// Up to this many output channels are computed by narrow.inl, whose blocks are this many pixels.
inline constexpr int64_t kNarrowChannels = 4;
inline constexpr int64_t kNarrowBlock = 16;
// Elements: partial sums of up to 16 lanes, and the pixels of a block that go to the output.
inline constexpr int64_t kNarrowScratch = kNarrowBlock * (kNarrowChannels * 16 + kDirectPanel);

// A panel is multiplied in slices that stay in L1: of several runs, or of a part of one.
struct StripSlices {
  int64_t count;
  int64_t runs, run_length;  // of a slice, the last of which may be smaller
  int64_t cuts;              // slices in a run
};

struct StripPlan {
  bool narrow;  // few output channels
  bool flat;    // output pixels follow on each other across rows and images, as in the input
  bool staged;  // through a copy of input rows with their padding
  int64_t column_stride, row_stride;  // of the copy: input columns and rows that no filter reads are left out
  int64_t units;                      // rows of output, of all images; where `flat`, blocks
  int64_t unit_blocks;                // blocks in a unit
  int64_t pixel_step;                 // elements between adjacent input pixels in what the kernel reads
  int64_t row_step;                   // and between input rows
  int64_t runs;                       // products of an output value that lie side by side, and their number
  int64_t run_length;
  StripSlices slices;
  int64_t group;  // units staged together before the panels of the weight are streamed past them
  int64_t grain;  // least number of units that is worth a thread
};

template <typename T>
struct StripJob : DirectJob<T> {
  StripPlan strip;

  int64_t block_begin(int64_t unit, int64_t block) const {
    if (strip.flat) return this->pixels * (unit + block) / strip.units;
    return unit * this->out_w + this->out_w * block / strip.unit_blocks;
  }
  // In what the kernel reads, from one output pixel to the next, and from one output row to the next.
  int64_t pixel_advance() const { return this->args.stride_w / strip.column_stride * strip.pixel_step; }
  int64_t row_advance() const { return this->args.stride_h / strip.row_stride * strip.row_step; }

  int64_t staged_columns() const {
    const int64_t reach = (this->args.filter.kernel_w - 1) * this->args.dilation_w;
    return ((this->out_w - 1) * this->args.stride_w + reach) / strip.column_stride + 1;
  }
  // Rows under `count` output rows of one image.
  int64_t strip_rows(int64_t count) const {
    const int64_t reach = (this->args.filter.kernel_h - 1) * this->args.dilation_h;
    return ((count - 1) * this->args.stride_h + reach) / strip.row_stride + 1;
  }
  // Scratch of stages 2 and 3, in elements: sums of a run of blocks, or what narrow.inl says, and its weight.
  int64_t strip_sums_size(int64_t max_rows) const {
    return strip.narrow ? kNarrowScratch + (this->args.filter.out_c * this->depth + 15) / 16 * 16
                        : kStripRun * max_rows * kDirectPanel + 16;
  }
  int64_t strip_size() const { return strip.staged ? strip_rows(strip.group) * strip.row_step : 0; }
};

template <typename T>
StripJob<T> strip_job(const DirectJob<T>& job, const DirectMicro& micro, int threads,
                      const CacheSizes& caches);

// Whether strips are the better way: for maps in channels_last that fill blocks, where threads share out
// pixels rather than panels.
template <typename T>
bool takes_strips(const StripJob<T>& job, const DirectMicro& micro);

}  // namespace greenkernels::cpu
