// The part of int8_gemm that a warp does on its own: products of slices in shared memory by tensor cores, and
// what becomes of the sums.
#pragma once

#include <type_traits>

#include "api/int8_gemm.h"
#include "cuda/activation.cuh"
#include "cuda/int8_tile.cuh"

namespace greenkernels::cuda {

// A tile of out: kWarpsDown x kWarpsAcross warps, each with kDown x kAcross products of 16 x 8; kBlocks of
// them fit in a multiprocessor.
template <int kWarpsDownV, int kWarpsAcrossV, int kDownV, int kAcrossV, int kBlocksV>
struct Int8Tile {
  static constexpr int kWarpsDown = kWarpsDownV, kWarpsAcross = kWarpsAcrossV;
  static constexpr int kDown = kDownV, kAcross = kAcrossV;
  static constexpr int kRows = kWarpsDown * 16 * kDown, kColumns = kWarpsAcross * 8 * kAcross;
  static constexpr int kThreads = kWarpsDown * kWarpsAcross * kWarp, kBlocks = kBlocksV;
};

// The sums of a warp: products of 16 x 8, four of each in a lane, rows l / 4 and l / 4 + 8, columns
// 2 (l % 4) and the next.
template <typename Tile, bool kUnsigned>
class Int8Sums {
 public:
  static constexpr int kDown = Tile::kDown, kAcross = Tile::kAcross;

  // The addresses are those of the slices in shared memory.
  __device__ void add_slice(unsigned a_slice, unsigned b_slice) {
#pragma unroll
    for (int chunk = 0; chunk < kInt8Chunks; chunk += 2) {  // 32 bytes of depth, two chunks
      // Rows 16 i are in the same places of later banks: int8_place has a period of eight rows.
      const unsigned a_row = a_slice + int8_place(row0() + lane() % 16, chunk + lane() / 16);
      const unsigned b_row =
          b_slice + int8_place(col0() + lane() / 16 * 8 + lane() % 8, chunk + lane() / 8 % 2);
      uint32_t rows[kDown][4], columns[kAcross / 2][4];
#pragma unroll
      for (int i = 0; i < kDown; ++i) load_matrices(rows[i], a_row + 16 * i * kInt8Depth);
#pragma unroll
      for (int j = 0; j < kAcross / 2; ++j) load_matrices(columns[j], b_row + 16 * j * kInt8Depth);  // two
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
          const uint32_t* part = columns[j / 2] + j % 2 * 2;
          multiply_add_int8<kUnsigned>(sums_[i][j], rows[i], part[0], part[1]);
        }
      }
    }
  }

  // Two neighbours, in row row_of(line) and columns column_of(j) and the next.
  __device__ const int* pair(int line, int j) const { return sums_[line / 2][j] + line % 2 * 2; }

  static constexpr int kLines = 2 * kDown;  // rows of the tile in which a lane has sums
  __device__ static int row_of(int line) { return row0() + 8 * line + lane() / 4; }
  __device__ static int column_of(int j) { return col0() + 8 * j + 2 * (lane() % 4); }

 private:
  __device__ static int lane() { return threadIdx.x % kWarp; }
  __device__ static int row0() { return threadIdx.x / kWarp / Tile::kWarpsAcross * 16 * kDown; }
  __device__ static int col0() { return threadIdx.x / kWarp % Tile::kWarpsAcross * 8 * kAcross; }

  int sums_[kDown][kAcross][4] = {};
};

// Writes what a lane has of a tile at (row0, col0) to out [m, n]: sums, or floats with their scales, bias and
// relu. `pairs`: rows of out allow 8-byte accesses.
template <typename T, typename Sums>
__device__ inline void int8_write_tile(const Int8CudaGemmArgs& args, const Sums& sums, T* out, int64_t row0,
                                       int64_t col0, bool pairs) {
  constexpr bool kFloat = std::is_same_v<T, float>;
  const bool with_relu = args.epilogue.activation == Activation::kRelu;
  float scales[Sums::kLines];
  int points[Sums::kLines];
#pragma unroll
  for (int line = 0; line < Sums::kLines; ++line) {
    const int64_t i = row0 + Sums::row_of(line);
    const bool inside = i < args.m;
    scales[line] = kFloat && inside ? args.row_scale[args.row_scales > 1 ? i : 0] : 0.0f;
    points[line] = inside && args.zero_points ? args.zero_point[args.zero_points > 1 ? i : 0] : 0;
  }
#pragma unroll
  for (int j = 0; j < Sums::kAcross; ++j) {
    const int64_t column = col0 + Sums::column_of(j);
    if (column >= args.n) continue;
    const bool both = column + 1 < args.n;
    float col_scale[2] = {}, bias[2] = {};
    int b_sums[2] = {};
    if (kFloat) load2(col_scale, args.epilogue.col_scale + column, both);
    if (kFloat && args.epilogue.bias) load2(bias, args.epilogue.bias + column, both);
    if (args.zero_points) load2(b_sums, args.b_sums + column, both);
#pragma unroll
    for (int line = 0; line < Sums::kLines; ++line) {
      const int64_t i = row0 + Sums::row_of(line);
      if (i >= args.m) continue;
      T values[2];
#pragma unroll
      for (int next = 0; next < 2; ++next) {
        const int sum = sums.pair(line, j)[next] - points[line] * b_sums[next];
        if constexpr (kFloat) {
          const float value = fmaf(scales[line] * col_scale[next], float(sum), bias[next]);
          values[next] = with_relu ? relu(value) : value;
        } else {
          values[next] = sum;
        }
      }
      T* to = out + i * args.n + column;
      if (pairs) {
        store2_global(to, values[0], values[1]);
      } else {
        to[0] = values[0];
        if (both) to[1] = values[1];
      }
    }
  }
}

}  // namespace greenkernels::cuda
