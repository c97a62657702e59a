// What int8_gemm needs beside its product: rows of floats to integers, results to integers, sums of rows.
#pragma once

#include <cfloat>
#include <climits>

#include "api/int8_gemm.h"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kRowThreads = 256;  // of a block, which owns a row
inline constexpr int kRowWarps = kRowThreads / kWarp;

// The integer that stands for v; a NaN is the lowest.
__device__ inline uint8_t int8_of(float v, float inverse, float zero) {
  return uint8_t(fminf(fmaxf(rintf(v * inverse) + zero, 0.0f), 255.0f));
}

// merge() of the values of all threads of a block, in every thread. `part` holds one value a warp; a barrier
// has to lie between two uses of it.
template <typename T, typename Merge>
__device__ inline T merge_block(T value, T* part, Merge merge) {
#pragma unroll
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    value = merge(value, __shfl_xor_sync(0xffffffffu, value, lanes));
  }
  if (threadIdx.x % kWarp == 0) part[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = part[0];
#pragma unroll
  for (int warp = 1; warp < kRowWarps; ++warp) value = merge(value, part[warp]);
  return value;
}

// Scale and zero point of one row. A row with a NaN or an infinity gets the scale NaN.
__device__ inline void int8_find_quantizer(const float* row, int64_t k, float* scale, float* zero) {
  __shared__ float highs[kRowWarps], lows[kRowWarps];
  __shared__ int bads[kRowWarps];
  float high = 0.0f, low = 0.0f;
  int bad = 0;
  for (int64_t d = threadIdx.x; d < k; d += kRowThreads) {
    const float v = row[d];
    high = fmaxf(high, v);
    low = fminf(low, v);
    bad |= !(fabsf(v) <= FLT_MAX);
  }
  high = merge_block(high, highs, [](float x, float y) { return fmaxf(x, y); });
  low = merge_block(low, lows, [](float x, float y) { return fminf(x, y); });
  bad = merge_block(bad, bads, [](int x, int y) { return x | y; });
  *scale = bad ? __int_as_float(0x7fffffff) : fmaxf(high / 255.0f - low / 255.0f, FLT_MIN);
  *zero = bad ? 0.0f : -rintf(low * (1.0f / *scale));
}

__global__ void __launch_bounds__(kRowThreads) int8_quantize_kernel(Int8QuantizeArgs args) {
  const int64_t i = blockIdx.x;
  const float* row = args.a + i * args.k;
  float scale, zero;
  if (args.row_scales == 0) {
    int8_find_quantizer(row, args.k, &scale, &zero);
    if (threadIdx.x == 0) {
      args.found_scale[i] = scale;
      args.found_zero_point[i] = int(zero);
    }
  } else {
    scale = args.row_scale[args.row_scales > 1 ? i : 0];
    zero = args.zero_points ? float(args.zero_point[args.zero_points > 1 ? i : 0]) : 0.0f;
  }
  const float inverse = 1.0f / scale;
  for (int64_t d = threadIdx.x; d < args.k; d += kRowThreads) {
    args.qa[i * args.k + d] = int8_of(row[d], inverse, zero);
  }
}

__global__ void __launch_bounds__(kRowThreads) int8_requantize_kernel(Int8RequantizeArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kRowThreads + threadIdx.x;
  if (i < args.size) args.out[i] = int8_of(args.values[i], args.inverse, float(args.zero_point));
}

__global__ void __launch_bounds__(kRowThreads) int8_row_sums_kernel(Int8RowSumsArgs args) {
  __shared__ int parts[kRowWarps];
  const int64_t j = blockIdx.x;
  int sum = 0;
  for (int64_t d = threadIdx.x; d < args.k; d += kRowThreads) sum += args.b[j * args.k + d];
  sum = merge_block(sum, parts, [](int x, int y) { return x + y; });
  if (threadIdx.x == 0) args.sums[j] = sum;
}

// One block of kRowThreads for each of `blocks`, at least one.
template <typename Args>
cudaError_t launch_rows(void (*kernel)(Args), int64_t blocks, cudaStream_t stream, const Args& args) {
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (blocks == 0) return cudaSuccess;
  return launch(kernel, dim3(unsigned(blocks)), dim3(kRowThreads), 0, stream, args);
}

}  // namespace greenkernels::cuda
