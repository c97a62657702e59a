// How one Winograd convolution is cut into work: tiles into blocks of rows for the micro-kernel, blocks into
// groups whose transformed input stays in the L2 cache, and which loop is outermost. Pure functions of sizes,
// so that tests can check them.
#pragma once

#include <cstdint>

#include "api/winograd_conv2d.h"

namespace greenkernels::cpu {

struct WinogradProblem {
  int64_t tiles;          // of all images of the batch, >= 1
  int64_t in_c, out_c;    // in_c >= 0, out_c >= 1
  int tile;               // m
  int64_t element_bytes;  // of the compute type
  int64_t max_rows;       // rows of the micro-kernel
  int threads;
  int64_t l2_bytes;
};

struct WinogradPlan {
  int64_t blocks;       // tiles are cut into this many blocks, sizes differing by at most 1
  int64_t max_rows;     // tiles in the largest block
  int64_t group;        // blocks transformed together before the panels of the weight are streamed past them
  bool panels_outer;    // all blocks are transformed first; threads then share out the panels
  int64_t panel_group;  // panels multiplied together, so that transformed input is read once for all of them
  bool stream_weight;   // the weight comes from outside of L2: it is fetched ahead
  int64_t pieces;       // that threads take where blocks are outermost, differing by at most 1 block
};

WinogradPlan winograd_plan(const WinogradProblem& problem);

// What one round of stages 2 and 3 covers: the panels [panel, panel_end) and the blocks [block, block_end).
struct WinogradPart {
  int64_t panel, panel_end, block, block_end;
  int64_t blocks() const { return block_end - block; }
};

// The sizes and strides that all stages share. Strides are in elements.
template <typename T, typename S = T>
struct WinogradJob {
  WinogradConv2dArgs<T, S> args;
  WinogradPlan plan;
  int64_t tiles_h, tiles_w, tiles;
  int64_t taps;            // (m + 2)^2
  int64_t channel_blocks;  // ceil(in_c / 16)
  int64_t panels;          // ceil(out_c / 32)

  int64_t first_tile(int64_t block) const { return tiles * block / plan.blocks; }
  int64_t rows(int64_t block) const { return first_tile(block + 1) - first_tile(block); }
  int64_t panel_width(int64_t panel) const {
    return args.out_c - panel * kWinogradPanel > kWinogradHalfPanel ? kWinogradPanel : kWinogradHalfPanel;
  }
  const T* packed_panel(int64_t panel) const {
    return args.packed + panel * kWinogradPanel * taps * args.in_c;
  }

  // Transformed input of a block: [tap][channel block][row][16]. A spare line keeps taps out of the same
  // cache sets.
  int64_t input_tap_stride() const { return channel_blocks * plan.max_rows * 16 + 16; }
  int64_t input_block_stride() const { return taps * input_tap_stride(); }
  // Products of a part: [panel][block], of each [tap][row][width of the panel].
  int64_t product_tap_stride() const { return plan.max_rows * kWinogradPanel + 16; }
  int64_t product_block_stride() const { return taps * product_tap_stride(); }
  int64_t products_size(const WinogradPart& part) const {
    return (part.panel_end - part.panel) * part.blocks() * product_block_stride();
  }
  // A strip of tiles of 16 channels, input or output: [m + 2][max_rows * m + 2][16].
  int64_t stage_size() const { return (args.tile + 2) * (plan.max_rows * args.tile + 2) * 16; }
};

template <typename T, typename S>
WinogradJob<T, S> winograd_job(const WinogradConv2dArgs<T, S>& args, int64_t max_rows, int threads,
                               int64_t l2_bytes);

}  // namespace greenkernels::cpu
