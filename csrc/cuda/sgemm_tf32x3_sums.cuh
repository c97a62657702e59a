// The part of sgemm_tf32x3 that multiplies: factors split in registers, sums of sixteen depths made by tensor
// cores and added up by the ordinary adder, which rounds to nearest; and what writes them.
#pragma once

#include "api/sgemm.h"
#include "cuda/sgemm_shared.cuh"
#include "cuda/sgemm_tf32x3_tile.cuh"

namespace greenkernels::cuda {

// What a block of warps owns: kWarpsDown x kWarpsAcross of them, kDown x kAcross products of 16 x 8 each.
template <int kWarpsDown_, int kWarpsAcross_, int kDown_, int kAcross_, int kBlocks_>
struct Tf32Tile {
  static constexpr int kWarpsDown = kWarpsDown_, kWarpsAcross = kWarpsAcross_;
  static constexpr int kDown = kDown_, kAcross = kAcross_;
  static constexpr int kRows = kWarpsDown * kDown * 16, kColumns = kWarpsAcross * kAcross * 8;
  static constexpr int kThreads = kWarpsDown * kWarpsAcross * kWarp;
  static constexpr int kBlocks = kBlocks_;  // on a multiprocessor, for which registers suffice

  __device__ static int row0() { return threadIdx.x / kWarp / kWarpsAcross * kDown * 16; }
  __device__ static int col0() { return threadIdx.x / kWarp % kWarpsAcross * kAcross * 8; }
};

// Numbers in two parts of 11 bits: high is the number rounded to TF32, ties away from zero; low is what is
// left, of at most 12 bits, of which tensor cores do not look at the last. Integers do the rounding, since
// cvt.rna.tf32 takes four instructions where these are two. A NaN may lose its name in high, but not in low.
struct Tf32Parts {
  uint32_t high[4], low[4];

  __device__ void split(const uint32_t (&numbers)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      high[i] = (numbers[i] + 0x1000u) & 0xffffe000u;
      low[i] = __float_as_uint(__uint_as_float(numbers[i]) - __uint_as_float(high[i]));
    }
  }
};

// The sums of a warp. A lane has rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next of each product of
// 16 x 8. Tensor cores cut off what does not fit, so they sum the 16 depths of a slice alone, the small
// products first, when there is little to be cut off. Factors are loaded and split while tensor cores work at
// those before, all columns of the next slice and one row of products after the other; and what came of the
// last row of products is added up.
template <typename Tile, typename ASlice, typename BSlice>
class Tf32Sums {
 public:
  // Loads what the first add_slice begins with, from slices at these addresses.
  __device__ void start(unsigned a, unsigned b) {
    uint32_t numbers[4];
#pragma unroll
    for (int j = 0; j < Tile::kAcross; ++j) {
      BSlice::load_columns(numbers, b, Tile::col0() + 8 * j);
      columns_[j].split(numbers);
    }
#pragma unroll
    for (int step = 0; step < kTf32Steps; ++step) {
      ASlice::load_rows(numbers, a, Tile::row0(), step);
      rows_[0][step].split(numbers);
    }
  }

  // Adds the products of a slice, whose part of a is at that address. bring() makes the next slice ready for
  // all warps.
  template <typename Bring>
  __device__ void add_slice(unsigned a, unsigned next_a, unsigned next_b, const Bring& bring) {
    uint32_t columns[Tile::kAcross][4];  // of the next slice
#pragma unroll
    for (int i = 0; i < Tile::kDown; ++i) {
      if (i == 0) bring();
      constexpr int kLoads = Tile::kAcross / Tile::kDown;
      const bool last = i + 1 == Tile::kDown;
      uint32_t rows[kTf32Steps][4];
#pragma unroll
      for (int step = 0; step < kTf32Steps; ++step) {
        ASlice::load_rows(rows[step], last ? next_a : a, Tile::row0() + (last ? 0 : 16 * (i + 1)), step);
      }
      float chain[Tile::kAcross][4] = {};
#pragma unroll
      for (int product = 0; product < 3 * kTf32Steps; ++product) {
        const int step = product % kTf32Steps;  // low * high of both, high * low of both, high * high of both
        const Tf32Parts& row = rows_[i % 2][step];
#pragma unroll
        for (int j = 0; j < Tile::kAcross; ++j) {
          const uint32_t* part = (product / kTf32Steps == 1 ? columns_[j].low : columns_[j].high) + 2 * step;
          multiply_add_tf32(chain[j], product < kTf32Steps ? row.low : row.high, part[0], part[1]);
        }
        if (product == 0) add_chain((i + Tile::kDown - 1) % Tile::kDown);
        if (product >= 1 && product < 1 + kTf32Steps) rows_[1 - i % 2][product - 1].split(rows[product - 1]);
        if (product == 3) {
#pragma unroll
          for (int j = i * kLoads; j < (i + 1) * kLoads; ++j) {
            BSlice::load_columns(columns[j], next_b, Tile::col0() + 8 * j);
          }
        }
      }
#pragma unroll
      for (int j = 0; j < Tile::kAcross; ++j) {
        if (last) columns_[j].split(columns[j]);
#pragma unroll
        for (int e = 0; e < 4; ++e) chain_[j][e] = chain[j][e];
      }
    }
  }

  // To be called when all slices are added.
  __device__ void finish() { add_chain(Tile::kDown - 1); }

  // Writes act(bias + beta * out + sums) for what lies within out, but for activations other than relu.
  // `pairs`: its rows allow 8-byte accesses.
  __device__ void write(const SgemmArgs<float>& args, float* out, int64_t first_row, int64_t first_col,
                        bool pairs) const {
    const bool relu_here = args.activation == Activation::kRelu;
#pragma unroll
    for (int j = 0; j < Tile::kAcross; ++j) {
      const int64_t column = first_col + column_of(j);
      if (column >= args.n) continue;
      const bool both = column + 1 < args.n;
      float bias[2] = {};
      if (args.bias) load2(bias, args.bias + column, both);
#pragma unroll
      for (int line = 0; line < kLines; ++line) {
        const int64_t row = first_row + row_of(line);
        if (row >= args.m) continue;
        float* to = out + row * args.out_row + column;
        float values[2], old[2] = {};
        if (args.beta != 0.0f) load2(old, to, both);
#pragma unroll
        for (int next = 0; next < 2; ++next) {
          values[next] = sums_[line / 2][j][line % 2 * 2 + next] + bias[next];
          if (args.beta != 0.0f) values[next] += args.beta * old[next];
          if (relu_here) values[next] = relu(values[next]);
        }
        if (pairs) {
          store2_global(to, values[0], values[1]);
        } else {
          to[0] = values[0];
          if (both) to[1] = values[1];
        }
      }
    }
  }

  // Applies the activation to what this thread wrote.
  __device__ static void activate_all(const SgemmArgs<float>& args, float* out, int64_t first_row,
                                      int64_t first_col) {
#pragma unroll 1
    for (int element = 0; element < kLines * Tile::kAcross * 2; ++element) {
      activate_written(args, out, first_row + row_of(element / (Tile::kAcross * 2)),
                       first_col + column_of(element / 2 % Tile::kAcross) + element % 2);
    }
  }

 private:
  static constexpr int kLines = 2 * Tile::kDown;  // rows in which a lane has sums
  static_assert(Tile::kDown % 2 == 0 && Tile::kAcross % Tile::kDown == 0, "buffers in turns, equal shares");

  __device__ static int lane() { return threadIdx.x % kWarp; }
  __device__ static int row_of(int line) { return Tile::row0() + 8 * line + lane() / 4; }
  __device__ static int column_of(int j) { return Tile::col0() + 8 * j + 2 * (lane() % 4); }

  __device__ void add_chain(int i) {
#pragma unroll
    for (int j = 0; j < Tile::kAcross; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums_[i][j][e] += chain_[j][e];
    }
  }

  Tf32Parts rows_[2][kTf32Steps];     // of this row of products, and of the next
  Tf32Parts columns_[Tile::kAcross];  // of this slice
  float sums_[Tile::kDown][Tile::kAcross][4] = {};
  float chain_[Tile::kAcross][4] = {};  // what is still to be added to the row of products before
};

}  // namespace greenkernels::cuda
