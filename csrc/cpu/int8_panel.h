// The integer product that int8_gemm and int8_conv2d share: blocks of quantized rows times one panel of the
// packed weight, and the float side of the result. How a row came to be is the business of the kernel.
#pragma once

#include <cstdint>

#include "api/int8_gemm.h"

namespace greenkernels::cpu {

// Panels are multiplied in slices of at most this depth: a slice of a panel takes 64 KiB of L2, one of a
// block of rows 28 KiB. 96 -> 98 % of the VNNI peak at 128 x 4096 x 4096 over slices of 1024, which L1 holds
// (a Xeon of family 6, model 207, 1 thread); sums come back from L1 half as often.
inline constexpr int64_t kInt8PanelSlice = 2048;
static_assert(kInt8Slice % kInt8PanelSlice == 0);

// Depth of the slices that `length` is cut into, alike but for the last: whole chunks of 64. A short one at
// the end would cost as many loads and stores of sums as a long one.
inline int64_t int8_slice(int64_t length) {
  const int64_t slices = (length + kInt8PanelSlice - 1) / kInt8PanelSlice;
  return slices <= 1 ? kInt8PanelSlice : ((length + slices - 1) / slices + 63) / 64 * 64;
}

// Blocks that go through all slices of a panel before the next ones do: their sums, 14 KiB with AVX-512, come
// back from L1 for each slice.
inline constexpr int64_t kInt8Run = 8;

// What is known of each row, in the order of rows. Quantized values are unsigned here: those of an int8 a,
// and their zero point, are 128 higher.
struct Int8Rows {
  float* scale;   // [m] real value of one step
  int32_t* zero;  // [m] what stands for 0
};

struct Int8Product {
  Int8Weight shape;
  const int8_t* packed;
  Int8Epilogue epilogue;
  Int8Output output;
  void* out;  // of the type of output; row i of panel p begins at element out_at(i, p)
  int64_t out_stride, out_first;
  int64_t m, blocks;  // rows are cut into this many blocks, sizes differing by at most 1
  int64_t max_rows;   // of a block
  bool one_zero;      // all rows have the zero point of the first

  int64_t out_at(int64_t row, int64_t panel) const {
    return row * out_stride + panel * kInt8Panel - out_first;
  }
  int64_t first_row(int64_t block) const { return m * block / blocks; }
  int64_t rows(int64_t block) const { return first_row(block + 1) - first_row(block); }

  // Elements of a block: [chunk of 64 of the depth][row][64].
  int64_t chunks() const { return (shape.k + 63) / 64; }
  int64_t block_stride() const { return chunks() * 64 * max_rows; }

  const int8_t* panel(int64_t p) const { return packed + p * shape.panel_bytes(); }
  // [kInt8Panel] sums of the rows of b that are the columns of the panel.
  const int32_t* column_sums(int64_t p) const {
    return reinterpret_cast<const int32_t*>(panel(p) + shape.quads() * kInt8Panel * 4);
  }
  // int32 [row of a run of blocks][kInt8Panel].
  int64_t sums_size() const { return kInt8Run * max_rows * kInt8Panel; }
};

}  // namespace greenkernels::cpu
