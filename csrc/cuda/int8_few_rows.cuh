// The part of int8_gemm for up to 8 rows of a: b is read once, and that is what takes the time. A block owns
// four columns of out, its threads share the depth, 16 bytes of a row at a time (dp4a).
#pragma once

#include "api/int8_gemm.h"
#include "cuda/device.cuh"
#include "cuda/int8_element.cuh"
#include "cuda/lane_sums.cuh"

namespace greenkernels::cuda {

inline constexpr int kInt8FewWarps = 4;
inline constexpr int kInt8FewThreads = kInt8FewWarps * kWarp;
inline constexpr int kInt8FewColumns = 4;  // with 8 rows, 32 sums a lane
inline constexpr int kInt8MostFewRows = 8;

// sum + the products of 16 bytes of a row of a, int8 or uint8, with 16 of a row of b.
template <bool kUnsigned>
__device__ inline int add_products(int4 a, int4 b, int sum) {
  sum = multiply_add_bytes<kUnsigned>(a.x, b.x, sum);
  sum = multiply_add_bytes<kUnsigned>(a.y, b.y, sum);
  sum = multiply_add_bytes<kUnsigned>(a.z, b.z, sum);
  return multiply_add_bytes<kUnsigned>(a.w, b.w, sum);
}

// At least args.m, which is at least 1, is kRows; block x owns columns kInt8FewColumns * x and on.
template <int kRows, bool kUnsigned>
__global__ void __launch_bounds__(kInt8FewThreads) int8_gemm_few_rows_kernel(Int8CudaGemmArgs args) {
  constexpr int kSums = kRows * kInt8FewColumns, kBytes = 16, kStep = kBytes * kInt8FewThreads;
  __shared__ int parts[kInt8FewWarps][kSums];
  const int64_t col0 = int64_t{blockIdx.x} * kInt8FewColumns;
  const int k = int(args.k), last = int(args.m) - 1;
  const int8_t* a = static_cast<const int8_t*>(args.a);
  const int8_t* b[kInt8FewColumns];
#pragma unroll
  for (int j = 0; j < kInt8FewColumns; ++j) {  // the last one again where there is none
    b[j] = args.b + (col0 + j < args.n ? col0 + j : args.n - 1) * k;
  }
  int sums[kSums] = {};
#pragma unroll(kRows <= 4 ? 2 : 1)
  for (int depth = kBytes * threadIdx.x; depth < k; depth += kStep) {
    int4 columns[kInt8FewColumns];
#pragma unroll
    for (int j = 0; j < kInt8FewColumns; ++j) columns[j] = *reinterpret_cast<const int4*>(b[j] + depth);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int4 row = *reinterpret_cast<const int4*>(a + (i < last ? i : last) * k + depth);
#pragma unroll
      for (int j = 0; j < kInt8FewColumns; ++j) {
        int& sum = sums[i * kInt8FewColumns + j];
        sum = add_products<kUnsigned>(row, columns[j], sum);
      }
    }
  }

  const int sum = sum_over_lanes(sums), warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (lane % (kWarp / kSums) == 0) parts[warp][lane / (kWarp / kSums)] = sum;
  __syncthreads();
  const int64_t i = threadIdx.x / kInt8FewColumns, j = col0 + threadIdx.x % kInt8FewColumns;
  if (threadIdx.x >= kSums || i >= args.m || j >= args.n) return;
  int total[1] = {};
#pragma unroll
  for (int from = 0; from < kInt8FewWarps; ++from) total[0] += parts[from][threadIdx.x];
  int8_write_elements(args, i, j, total);
}

template <bool kUnsigned>
cudaError_t launch_int8_few_rows(const Int8CudaGemmArgs& args, cudaStream_t stream) {
  const int64_t blocks = blocks_for(args.n, kInt8FewColumns);
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  const auto kernel = args.m == 1   ? int8_gemm_few_rows_kernel<1, kUnsigned>
                      : args.m == 2 ? int8_gemm_few_rows_kernel<2, kUnsigned>
                      : args.m <= 4 ? int8_gemm_few_rows_kernel<4, kUnsigned>
                                    : int8_gemm_few_rows_kernel<kInt8MostFewRows, kUnsigned>;
  return launch(kernel, dim3(unsigned(blocks)), dim3(kInt8FewThreads), 0, stream, args);
}

}  // namespace greenkernels::cuda
