// csr_matmul on CUDA for few rows of x, as when a language model writes its next word: the weight is read
// once, and that is the time. A warp owns a row of the weight, its lanes take turns with the nonzeros.
#pragma once

#include "api/csr_matmul.h"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kCsrThreads = 128;
inline constexpr int kCsrWarps = kCsrThreads / kWarp;
inline constexpr int64_t kFewRows = 8;  // of x: as many sums as a lane keeps

// The sum over the lanes of a warp, in each of them.
template <typename T>
__device__ inline T sum_of_warp(T value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
  return value;
}

// kRows >= m. Warp w of block b owns row kCsrWarps b + w of the weight.
template <int kRows, typename T, typename I>
__global__ void __launch_bounds__(kCsrThreads) csr_few_rows_kernel(CsrCudaArgs<T, I> args) {
  const int64_t row = int64_t{blockIdx.x} * kCsrWarps + threadIdx.x / kWarp;
  if (row >= args.shape.n) return;
  const int lane = threadIdx.x % kWarp;
  const int64_t end = args.crow_indices[row + 1];
  T sums[kRows] = {};
  for (int64_t p = args.crow_indices[row] + lane; p < end; p += kWarp) {
    const T* x = args.x + args.col_indices[p];
    const T value = args.values[p];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (i < args.m) sums[i] += value * x[i * args.shape.k];
    }
  }
  const T bias = args.bias ? args.bias[row] : T(0);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const T sum = sum_of_warp(sums[i]);
    if (lane == 0 && i < args.m) args.out[i * args.shape.n + row] = sum + bias;
  }
}

template <typename T, typename I>
cudaError_t launch_few_rows(const CsrCudaArgs<T, I>& args, cudaStream_t stream) {
  const auto kernel = args.m <= 1   ? csr_few_rows_kernel<1, T, I>
                      : args.m <= 2 ? csr_few_rows_kernel<2, T, I>
                      : args.m <= 4 ? csr_few_rows_kernel<4, T, I>
                                    : csr_few_rows_kernel<int(kFewRows), T, I>;
  return launch(kernel, dim3(unsigned(blocks_for(args.shape.n, kCsrWarps))), dim3(kCsrThreads), 0, stream,
                args);
}

}  // namespace greenkernels::cuda
