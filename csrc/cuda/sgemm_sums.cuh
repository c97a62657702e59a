// The part of sgemm that multiplies slices in shared memory, keeps the sums in registers, and writes them.
#pragma once

#include "api/sgemm.h"
#include "cuda/sgemm_shared.cuh"
#include "cuda/sgemm_tile.cuh"

namespace greenkernels::cuda {

// The sides of the square of out that a block owns, with kLaneRows of its rows in a thread.
template <int kLaneRows>
inline constexpr int kSgemmTile = 8 * kLaneRows;

// The kLaneRows x kLaneColumns elements of a thread. Four warps own a quarter of the tile each, lanes stand
// 4 x 8 on it, and a lane has rows 16 i + 4 r + {0..3} and columns 32 j + 4 c + {0..3}: so all that lanes
// read from a slice is 16 bytes wide and without bank conflicts, and the eight lanes of a row store whole
// sectors of out. The elements of one depth are read while those of the last are multiplied.
template <int kLaneRows>
class SgemmSums {
 public:
  static constexpr int kParts = kLaneRows / 4;  // of a depth: multiply() does one

  // Reads what part `part` of a depth has to read: slices of a and b, from that depth on.
  __device__ void load(int depth, int part, const float* a, const float* b) {
    constexpr int kLoads = kParts + kColumnFours;
#pragma unroll
    for (int x = part * kLoads / kParts; x < (part + 1) * kLoads / kParts; ++x) {
      // In the order in which they are wanted: the first of a, all of b, the rest of a.
      if (x == 0) {
        rows_[depth & 1][0] = load4(a + row(0));
      } else if (x <= kColumnFours) {
        cols_[depth & 1][x - 1] = load4(b + col(4 * (x - 1)));
      } else {
        rows_[depth & 1][x - kColumnFours] = load4(a + row(4 * (x - kColumnFours)));
      }
    }
  }

  // Four rows of a depth that has been read. Columns go to and fro: so the registers of the last one are
  // still at hand (2.76 ms instead of 2.89 on an H100, m = n = k = 4096).
  __device__ void multiply(int depth, int part) {
    const float4 four = rows_[depth & 1][part];
    const float ones[] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int step = 0; step < kLaneColumns; ++step) {
        const int j = i % 2 ? kLaneColumns - 1 - step : step;
        const float4 cols = cols_[depth & 1][j / 4];
        const float one = j % 4 == 0 ? cols.x : j % 4 == 1 ? cols.y : j % 4 == 2 ? cols.z : cols.w;
        float& sum = sums_[4 * part + i][j];
        sum = fmaf(ones[i], one, sum);
      }
    }
  }

  // Writes act(bias + beta * out + sums) for what lies within out. `vector_out`: its rows allow 16-byte
  // accesses.
  __device__ void write(const SgemmArgs<float>& args, float* out, int64_t row0, int64_t col0,
                        bool vector_out) {
    const bool relu_here = args.activation == Activation::kRelu;
#pragma unroll
    for (int half = 0; half < kLaneColumns; half += 4) {
      const int64_t first = col0 + col(half);
      float bias[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) bias[j] = args.bias && first + j < args.n ? args.bias[first + j] : 0.0f;
#pragma unroll
      for (int i = 0; i < kLaneRows; ++i) {
        if (row0 + row(i) >= args.m) continue;
        float* to = out + (row0 + row(i)) * args.out_row + first;
        float values[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          values[j] = sums_[i][half + j] + bias[j];
          if (args.beta != 0.0f && first + j < args.n) values[j] += args.beta * to[j];
          if (relu_here) values[j] = relu(values[j]);
        }
        if (vector_out && first < args.n) {
          store4_global(to, make_float4(values[0], values[1], values[2], values[3]));
        } else {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            if (first + j < args.n) to[j] = values[j];
          }
        }
      }
    }
  }

  // Applies the activation to what this thread wrote.
  __device__ static void activate_all(const SgemmArgs<float>& args, float* out, int64_t row0, int64_t col0) {
#pragma unroll 1
    for (int element = 0; element < kLaneRows * kLaneColumns; ++element) {
      activate_written(args, out, row0 + row(element / kLaneColumns), col0 + col(element % kLaneColumns));
    }
  }

 private:
  static constexpr int kLaneColumns = kLaneRows / 2, kColumnFours = kLaneColumns / 4;

  __device__ static int row(int i) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    return warp / 2 * (4 * kLaneRows) + i / 4 * 16 + lane / 8 * 4 + i % 4;
  }
  __device__ static int col(int j) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    return warp % 2 * (8 * kLaneColumns) + j / 4 * 32 + lane % 8 * 4 + j % 4;
  }

  float4 rows_[2][kParts], cols_[2][kColumnFours];  // of a depth and of the next
  float sums_[kLaneRows][kLaneColumns] = {};
};

}  // namespace greenkernels::cuda
