// How one direct convolution is cut into work: output pixels into blocks of rows for the micro-kernel, blocks
// into groups whose gathered input stays in the L2 cache, and which loop is outermost. Pure functions of
// sizes, so that tests can check them.
#pragma once

#include <cstdint>

#include "api/direct_conv2d.h"

namespace greenkernels::cpu {

struct DirectProblem {
  int64_t pixels;         // of output, of all images of the batch, >= 1
  int64_t depth;          // products in an output value
  int64_t groups, out_c;  // >= 1
  int64_t element_bytes;  // of the compute type
  int64_t max_rows;       // rows of the micro-kernel
  int threads;
  int64_t l2_bytes;
};

struct DirectPlan {
  int64_t blocks;     // pixels are cut into this many blocks, sizes differing by at most 1
  int64_t max_rows;   // pixels in the largest block
  int64_t group;      // blocks gathered together before the panels of the weight are streamed past them
  bool panels_outer;  // all blocks are gathered first; threads then share out the panels
  int64_t grain;      // least number of blocks that is worth a thread
};

DirectPlan direct_plan(const DirectProblem& problem);

// The micro-kernel of an instruction set.
struct DirectMicro {
  int64_t max_rows, column_step;  // kMicroRows, kColumnStep
};

// Panels are multiplied in slices of this depth: a slice of a panel, 32 KiB, and of a block fit in L1.
inline constexpr int64_t kDirectSlice = 256;

// Blocks that go through all slices of a panel before the next ones do: their sums, 14 KiB with AVX-512, come
// back from L1 for each slice.
inline constexpr int64_t kDirectRun = 8;

// The sizes and strides that all stages share. Strides are in elements.
template <typename T>
struct DirectJob {
  DirectConv2dArgs<T> args;
  DirectPlan plan;
  int64_t in_c, out_h, out_w;
  int64_t pixels;        // batch * out_h * out_w: output pixels in the order of rows
  int64_t depth;         // products in an output value, tap by tap, channels of the group adjacent
  int64_t group_panels;  // of one group of channels
  int64_t panels;        // of all groups

  bool columns;                 // gather by columns (columns.inl) and not by rows (gather.inl)
  bool staged;                  // by columns, through a copy with padding and without strides
  bool flat;                    // by columns, and pixels follow on each other across rows
  int64_t column_step;          // kColumnStep of the instruction set
  int64_t phases, phase_width;  // of a staged row: [phase = column % stride_w][column / stride_w]

  int64_t first_pixel(int64_t block) const { return pixels * block / plan.blocks; }
  int64_t rows(int64_t block) const { return first_pixel(block + 1) - first_pixel(block); }

  // Panel p: its first channel, and one past the last channel of its group.
  int64_t panel_channel(int64_t p) const {
    return p / group_panels * args.filter.group_out_c() + p % group_panels * kDirectPanel;
  }
  int64_t panel_end(int64_t p) const { return (p / group_panels + 1) * args.filter.group_out_c(); }
  int64_t panel_width(int64_t p) const {
    return panel_end(p) - panel_channel(p) > kDirectHalfPanel ? kDirectPanel : kDirectHalfPanel;
  }
  const T* packed_panel(int64_t p) const {
    const int64_t column =
        p / group_panels * args.filter.padded_group_out_c() + p % group_panels * kDirectPanel;
    return args.packed + column * depth;
  }

  // Gathered input of a block: [group of channels][depth / 16, rounded up][row][16], or, by columns,
  // [group of channels][depth, rounded up to 16][column_step].
  int64_t depth_chunks() const { return (depth + 15) / 16; }
  int64_t block_stride() const {
    return args.filter.groups * depth_chunks() * 16 * (columns ? column_step : plan.max_rows);
  }
  // Sums of a run of blocks and a panel: [pixel][width of the panel]; output reads on to a full vector of
  // pixels.
  int64_t sums_size() const { return (kDirectRun * plan.max_rows + 16) * kDirectPanel; }
  // Scratch of the gather: by columns the part of the input that a group of blocks reads, see DirectPlanes;
  // else one pixel's gathered input, with room for the vector that ends it.
  int64_t stage_size() const;

  // A filter of one row reads no input rows but those of the outputs.
  int64_t staged_row_step() const { return args.filter.kernel_h == 1 ? args.stride_h : 1; }
  int64_t staged_rows(int64_t out_rows) const {
    const int64_t reach = (args.filter.kernel_h - 1) * args.dilation_h;
    return ((out_rows - 1) * args.stride_h + reach) / staged_row_step() + 1;
  }
};

template <typename T>
DirectJob<T> direct_job(const DirectConv2dArgs<T>& args, const DirectMicro& micro, int threads,
                        int64_t l2_bytes);

}  // namespace greenkernels::cpu
