// Strassen's seven products on CUDA: which blocks they sum and where they go, as signs that the compiler
// knows.
#pragma once

#include "api/strassen_gemm.h"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

// M1 .. M7 of the paper, in the order of csrc/cpu/strassen_gemm/scheme.cpp: the signs of blocks 00, 01, 10
// and 11. b is stored transposed, so its block 10 is B_01 of the paper.
using StrassenSigns = int[7][4];
inline constexpr StrassenSigns kStrassenA = {{1, 0, 0, 1}, {0, 0, 1, 1},  {1, 0, 0, 0}, {0, 0, 0, 1},
                                             {1, 1, 0, 0}, {-1, 0, 1, 0}, {0, 1, 0, -1}};
inline constexpr StrassenSigns kStrassenB = {{1, 0, 0, 1}, {1, 0, 0, 0}, {0, 0, 1, -1}, {-1, 1, 0, 0},
                                             {0, 0, 0, 1}, {1, 0, 1, 0}, {0, 1, 0, 1}};
inline constexpr StrassenSigns kStrassenOut = {{1, 0, 0, 1},  {0, 0, 1, -1}, {0, 1, 0, 1}, {1, 0, 1, 0},
                                               {-1, 1, 0, 0}, {0, 0, 0, 1},  {1, 0, 0, 0}};

enum class StrassenMatrix { kA, kB, kOut };

// A bit for each sign of a matrix that is `sign`: device code sees numbers, but no tables of the host.
inline constexpr uint32_t strassen_bits(StrassenMatrix matrix, int sign) {
  const StrassenSigns& signs = matrix == StrassenMatrix::kA   ? kStrassenA
                               : matrix == StrassenMatrix::kB ? kStrassenB
                                                              : kStrassenOut;
  uint32_t bits = 0;
  for (int i = 0; i < 28; ++i) bits |= uint32_t{signs[i / 4][i % 4] == sign} << i;
  return bits;
}

// The sign of block `block` in product `product` of one level: 1, -1, or 0 where it has no part in it.
template <StrassenMatrix kMatrix>
__device__ inline int strassen_sign(int product, int block) {
  constexpr uint32_t kPlus = strassen_bits(kMatrix, 1), kMinus = strassen_bits(kMatrix, -1);
  const int at = 4 * product + block;
  return int(kPlus >> at & 1) - int(kMinus >> at & 1);
}

// The same of out for `levels` levels, for the block in row `row` and column `col`: the outer level's is the
// highest digit of the product, and the highest bit of both.
__device__ inline int strassen_out_sign(int levels, int product, int row, int col) {
  int sign = 1;
  for (int level = 0; level < levels; ++level, product /= 7) {
    sign *= strassen_sign<StrassenMatrix::kOut>(product % 7, 2 * (row >> level & 1) + (col >> level & 1));
  }
  return sign;
}

// A block of an operand, sign * the block in row `row` and column `col`.
struct StrassenTerm {
  int row, col, sign;
};

// The first and the last block of each product of one level, two bits each, four for a product: the same one
// where it has but one.
inline constexpr uint32_t strassen_ends(StrassenMatrix matrix) {
  const uint32_t both = strassen_bits(matrix, 1) | strassen_bits(matrix, -1);
  uint32_t ends = 0;
  for (int product = 0; product < 7; ++product) {
    uint32_t first = 4, last = 0;
    for (uint32_t block = 0; block < 4; ++block) {
      if (!(both >> (4 * product + block) & 1)) continue;
      if (first == 4) first = block;
      last = block;
    }
    ends |= (first | last << 2) << 4 * product;
  }
  return ends;
}

// Term `choice` of 2^levels of a product of `levels` levels: bits say which of the two terms of each level,
// and the sign is 0 where there is but one.
template <StrassenMatrix kMatrix>
__device__ inline StrassenTerm strassen_term(int levels, int product, int choice) {
  constexpr uint32_t kEnds = strassen_ends(kMatrix);
  StrassenTerm term{0, 0, 1};
  for (int level = 0; level < levels; ++level, product /= 7) {
    const int ends = kEnds >> 4 * (product % 7), first = ends & 3, last = ends >> 2 & 3;
    const bool second = choice >> level & 1;
    const int block = second ? last : first;
    term.row += block / 2 << level;
    term.col += block % 2 << level;
    term.sign *= second && first == last ? 0 : strassen_sign<kMatrix>(product % 7, block);
  }
  return term;
}

// The sum of the blocks of one product of one level, block (row, col) of two by two at blocks[kRowStep * row
// + kColStep * col]. Nothing is added to the first term, so that one block alone stays as it is.
template <StrassenMatrix kMatrix, int kRowStep, int kColStep, int kCount, typename T>
__device__ inline void sum_blocks(T (&sums)[kCount], const T (*blocks)[kCount], int product) {
  bool first = true;
#pragma unroll
  for (int block = 0; block < 4; ++block) {
    const int sign = strassen_sign<kMatrix>(product, block);
    if (sign == 0) continue;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const T term = blocks[block / 2 * kRowStep + block % 2 * kColStep][i];
      if (first) {
        sums[i] = sign > 0 ? term : -term;
      } else {
        sums[i] = sign > 0 ? sums[i] + term : sums[i] - term;
      }
    }
    first = false;
  }
}

// A matrix [rows, depth] in panels, as api/sgemm.h has them: slices of the depth, panels of rows in each.
struct PanelPlace {
  int64_t index;  // of element (row, d)
  int width;      // of its panel: elements from d to d + 1

  __device__ static PanelPlace of(int64_t rows, int64_t depth, int64_t row, int64_t d) {
    const int64_t padded = sgemm_padded_columns(rows), first = row / kSgemmPanel * kSgemmPanel;
    const int64_t slice = d / kSgemmSlice * kSgemmSlice;
    const int64_t deep = depth - slice < kSgemmSlice ? depth - slice : kSgemmSlice;
    const int width = int(padded - first < kSgemmPanel ? padded - first : kSgemmPanel);
    return {slice * padded + first * deep + (d - slice) * width + row - first, width};
  }
};

}  // namespace greenkernels::cuda
