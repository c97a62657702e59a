// csr_matmul on CUDA for few rows of x, as when a language model writes its next word: the weight is read
// once, and that is the time. A warp owns a row of the weight, its lanes take turns with the nonzeros.
#pragma once

#include <cmath>

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

// The nonzeros of a row of the weight, of those that there are: whatever the indices say.
struct CsrRange {
  int64_t begin, end;
};

template <typename I>
__device__ inline CsrRange nonzeros_of(const I* crow_indices, int64_t row, const CsrShape& shape) {
  const int64_t begin = crow_indices[row], end = crow_indices[row + 1];
  const int64_t nnz = shape.k > 0 ? shape.nnz : 0;
  return {begin < 0 ? 0 : begin > nnz ? nnz : begin, end < 0 ? 0 : end > nnz ? nnz : end};
}

// Nonzero p: its value and column. A column that the weight does not have turns into column 0, its value into
// NaN.
template <typename T>
struct CsrElement {
  T value;
  int column;
};

template <typename T, typename I>
__device__ inline CsrElement<T> checked_element(T value, I column, int64_t k) {
  const bool inside = uint64_t(int64_t{column}) < uint64_t(k);
  return {inside ? value : T(NAN), inside ? int(column) : 0};
}

// kRows >= m. Warp w of block b owns row kCsrWarps b + w of the weight.
template <int kRows, typename T, typename I>
__global__ void __launch_bounds__(kCsrThreads) csr_few_rows_kernel(CsrCudaArgs<T, I> args) {
  const int64_t row = int64_t{blockIdx.x} * kCsrWarps + threadIdx.x / kWarp;
  if (row >= args.shape.n) return;
  const int lane = threadIdx.x % kWarp;
  const CsrRange range = nonzeros_of(args.crow_indices, row, args.shape);
  T sums[kRows] = {};
  for (int64_t p = range.begin + lane; p < range.end; p += kWarp) {
    const CsrElement<T> element = checked_element(args.values[p], args.col_indices[p], args.shape.k);
    const T* x = args.x + element.column;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (i < args.m) sums[i] += element.value * x[i * args.shape.k];
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
