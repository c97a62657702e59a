// How the weight gradient of a Winograd convolution is cut into work. Tiles are the depth of its products:
// each chunk of them is transformed, then multiplied into sums [tap][in_c][out_c]. Pure functions of sizes,
// so that tests can check them.
#pragma once

#include <cstdint>

#include "cpu/winograd_conv2d/plan.h"

namespace greenkernels::cpu {

struct WinogradGradProblem {
  int64_t tiles;          // of all images of the batch, >= 1
  int64_t in_c, out_c;    // >= 1
  int tile;               // m
  int64_t element_bytes;  // of the compute type
  int threads;
  int64_t l2_bytes;
};

struct WinogradGradPlan {
  bool apart;  // each thread transforms and multiplies chunks of its own; else all threads share each chunk
  int64_t chunks;  // tiles are cut into this many, sizes differing by at most 1
  int64_t parts;   // pieces of a chunk that are transformed one by one
  int64_t shares;  // sums that exist beside each other: one a thread where they work apart; else slices of
                   // the depth, where there are fewer sums to compute than threads
  int64_t panels;  // panels of output channels whose sums are kept at a time
  int64_t group;   // blocks of 16 input channels that a task multiplies
};

WinogradGradPlan winograd_grad_plan(const WinogradGradProblem& problem);

// The sizes and strides that all stages share. Strides are in elements.
template <typename T, typename S = T>
struct WinogradGradJob {
  WinogradGradPlan plan;
  // How the two maps are read: tiles of m + 2 pixels of input, and of m pixels of grad, which stands as the
  // input of a convolution of its own. Their blocks are parts of chunks: plan.blocks = chunks * parts.
  WinogradJob<T, S> input, grad;
  T* grad_weight;
  int64_t taps;         // (m + 2)^2
  int64_t depth;        // tiles in the largest chunk
  int64_t in_blocks;    // ceil(in_c / 16)
  int64_t panels;       // ceil(out_c / 32)
  int64_t strip_tiles;  // the longest row of tiles that is transformed in one go

  int64_t first_tile(int64_t chunk) const { return input.first_tile(chunk * plan.parts); }
  int64_t rows(int64_t chunk) const { return first_tile(chunk + 1) - first_tile(chunk); }
  int64_t in_channels(int64_t block) const { return channels_of(input.args.in_c - block * 16, 16); }
  int64_t panel_width(int64_t panel) const { return grad.panel_width(panel); }

  // Transformed input of a chunk: [tap][16 input channels][tile][16], as WinogradJob has it.
  int64_t v_tap_stride() const { return input.input_tap_stride(); }
  int64_t v_size() const { return taps * v_tap_stride(); }
  // Transformed gradient of a chunk and plan.panels panels: [tap][panel][tile][width of the panel]. A spare
  // line keeps taps out of the same cache sets.
  int64_t z_tap_stride() const { return plan.panels * depth * kWinogradPanel + 16; }
  int64_t z_size() const { return taps * z_tap_stride(); }
  // Sums: [share][panel][16 input channels][tap][16][width of the panel].
  int64_t sums_size(int64_t panel, int64_t blocks) const { return blocks * taps * 16 * panel_width(panel); }
  int64_t sums_at(int64_t panel, int64_t block) const {
    return panel * sums_size(0, in_blocks) + sums_size(panel, block);
  }
  int64_t share_size() const { return plan.panels * sums_size(0, in_blocks); }
  // A strip of tiles of 16 channels: [m + 2][strip_tiles * m + 2][16].
  int64_t stage_size() const { return (input.args.tile + 2) * (strip_tiles * input.args.tile + 2) * 16; }

  static int64_t channels_of(int64_t left, int64_t most) { return left < most ? left : most; }
};

template <typename T, typename S>
WinogradGradJob<T, S> winograd_grad_job(const WinogradWeightGradArgs<T, S>& args, int threads,
                                        int64_t l2_bytes);

}  // namespace greenkernels::cpu
