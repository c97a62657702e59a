// A group of tiles of an int8 Winograd convolution, and the stages that run on it.
#pragma once

#include <cstdint>

#include "api/int8_winograd_conv2d.h"
#include "cpu/int8_panel.h"

namespace greenkernels::cpu {

// Where a tile lies in the output: its first pixel, and how much of it is inside.
struct Int8WinogradPlace {
  int64_t pixel;
  int32_t rows, columns;  // 1 or 2
};

struct Int8WinogradJob {
  const Int8WinogradArgs& args;
  int64_t first, tiles;  // of all images, row by row
  int64_t blocks;        // rows of the micro-kernel, as Int8Product has them
  int64_t max_rows;
  const float* zeros;        // [in_c], what lies outside of the map
  void* taps;                // [16][blocks][Int8Product::block_stride] quantized
  float* scale;              // [16][tiles]
  int32_t* zero;             // [16][tiles]
  Int8WinogradPlace* place;  // [tiles]

  int64_t tile_rows() const { return (args.out_h() + 1) / 2; }
  int64_t tile_columns() const { return (args.out_w() + 1) / 2; }

  // The product of one tap; sums: [tiles][kInt8Panel] of the panel.
  Int8Product product(int64_t tap, int64_t panel, int32_t* sums) const {
    const Int8Weight shape = args.tap_shape();
    return {shape,
            args.packed + tap * shape.packed_bytes(),
            Int8Epilogue{},
            Int8Output::kSums,
            sums,
            kInt8Panel,
            panel * kInt8Panel,
            tiles,
            blocks,
            max_rows,
            false};
  }
  Int8Rows rows(int64_t tap) const { return {scale + tap * tiles, zero + tap * tiles}; }
  // Elements of the taps of one kind.
  int64_t tap_stride() const { return blocks * product(0, 0, nullptr).block_stride(); }
  static int64_t line(int64_t in_c) { return (in_c + 63) / 64 * 64; }
};

// The stages of one instruction set.
struct Int8WinogradStages {
  int64_t max_rows, element_bytes;
  // Quantized taps, scales and zero points of the blocks [begin, end); lines: scratch, [16][line].
  void (*input)(const Int8WinogradJob& job, int64_t begin, int64_t end, float* lines);
  // Products and output of one panel; sums: scratch, [16][tiles][kInt8Panel] and Int8Product::sums_size().
  void (*panel)(const Int8WinogradJob& job, int64_t panel, int32_t* sums);
};

}  // namespace greenkernels::cpu
