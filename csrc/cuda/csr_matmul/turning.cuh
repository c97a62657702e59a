// Matrices turned for csr_matmul: rows of x become columns, so that a nonzero meets neighbours in memory.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kTurnTile = 32,
                     kTurnRows = 8;  // a block turns a tile of the first, rows of the second at a time

template <typename T>
struct Turning {
  const T* from;  // [rows, columns], rows from_row apart
  T* to;          // [columns, to_rows], rows to_row apart; 0 where from has no element
  int64_t rows, columns, from_row;
  int64_t to_rows, to_row;  // to_rows >= rows
};

// Block (x, y) turns tile (row y, column x) and those gridDim.y rows of tiles further.
template <typename T>
__global__ void __launch_bounds__(kTurnTile* kTurnRows) turn_kernel(Turning<T> args) {
  __shared__ T tile[kTurnTile][kTurnTile + 1];  // the spare column keeps the banks of a column apart
  const int x = threadIdx.x, y = threadIdx.y;
  const int64_t column0 = int64_t{blockIdx.x} * kTurnTile;
  for (int64_t row0 = int64_t{blockIdx.y} * kTurnTile; row0 < args.to_rows;
       row0 += int64_t{gridDim.y} * kTurnTile) {
#pragma unroll
    for (int i = y; i < kTurnTile; i += kTurnRows) {
      const bool inside = row0 + i < args.rows && column0 + x < args.columns;
      tile[i][x] = inside ? args.from[(row0 + i) * args.from_row + column0 + x] : T(0);
    }
    __syncthreads();
#pragma unroll
    for (int i = y; i < kTurnTile; i += kTurnRows) {
      if (column0 + i < args.columns && row0 + x < args.to_rows)
        args.to[(column0 + i) * args.to_row + row0 + x] = tile[x][i];
    }
    __syncthreads();  // before the next tile
  }
}

template <typename T>
cudaError_t launch_turn(const Turning<T>& args, cudaStream_t stream) {
  if (args.columns == 0 || args.to_rows == 0) return cudaSuccess;
  const int64_t down = blocks_for(args.to_rows, kTurnTile);
  const dim3 grid(unsigned(blocks_for(args.columns, kTurnTile)),
                  unsigned(down < kMostItems ? down : kMostItems));
  return launch(turn_kernel<T>, grid, dim3(kTurnTile, kTurnRows), 0, stream, args);
}

}  // namespace greenkernels::cuda
