// sgemm on CUDA in float64, which few GPUs multiply fast: 16 x 16 tiles of out, one element a thread.
#pragma once

#include "api/sgemm.h"
#include "cuda/device.cuh"
#include "cuda/sgemm_shared.cuh"

namespace greenkernels::cuda {

inline constexpr int kPlainTile = 16;

// Block (x, y, z) owns the tile of item z at row kPlainTile * y and column kPlainTile * x. Elements past an
// edge count as 0, so that sums need no care there.
__global__ void __launch_bounds__(kPlainTile* kPlainTile) sgemm_plain_kernel(SgemmArgs<double> args) {
  __shared__ double a_tile[kPlainTile][kPlainTile + 1];  // [depth][row]; the spare column keeps banks apart
  __shared__ double b_tile[kPlainTile][kPlainTile + 1];
  const int x = threadIdx.x, y = threadIdx.y;
  const int64_t item = blockIdx.z, row = int64_t{blockIdx.y} * kPlainTile + y,
                col = int64_t{blockIdx.x} * kPlainTile + x, b_row = int64_t{blockIdx.x} * kPlainTile + y;
  const double* a = args.a + item * args.a_batch + row * args.a_row;
  const double* b = args.b + item * args.b_batch + b_row * args.b_row;

  double sum = 0;
  for (int64_t from = 0; from < args.k; from += kPlainTile) {
    const bool inside = from + x < args.k;
    a_tile[x][y] = inside && row < args.m ? a[(from + x) * args.a_depth] : 0.0;
    b_tile[x][y] = inside && b_row < args.n ? b[(from + x) * args.b_depth] : 0.0;
    __syncthreads();
    for (int d = 0; d < kPlainTile; ++d) sum = fma(a_tile[d][y], b_tile[d][x], sum);
    __syncthreads();  // before the next slice overwrites the tiles
  }

  if (row >= args.m || col >= args.n) return;
  double& out = args.out[item * args.out_batch + row * args.out_row + col];
  if (args.bias) sum += args.bias[col];
  if (args.beta != 0.0) sum += args.beta * out;
  const int64_t at = args.activation_params > 1 ? col : 0;
  out = activate(args.activation, sum, args.activation_params ? args.activation_param[at] : 0.0);
}

inline cudaError_t launch_sgemm(const SgemmArgs<double>& args, cudaStream_t stream) {
  if (args.packed != nullptr) return cudaErrorInvalidValue;
  const int64_t tiles_down = blocks_for(args.m, kPlainTile), tiles_across = blocks_for(args.n, kPlainTile);
  if (tiles_down > 65535 || tiles_across > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (tiles_down * tiles_across == 0) return cudaSuccess;
  return launch_batch(args, [&](const SgemmArgs<double>& some, unsigned items) {
    const dim3 grid(unsigned(tiles_across), unsigned(tiles_down), items), block(kPlainTile, kPlainTile);
    return launch(sgemm_plain_kernel, grid, block, 0, stream, some);
  });
}

}  // namespace greenkernels::cuda
