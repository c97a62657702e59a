// The part of sgemm for up to 16 rows of a, both operands with stride 1 along the depth: b is read once, and
// that is what takes the time. A block owns some columns of out, its lanes share the depth.
#pragma once

#include "api/sgemm.h"
#include "cuda/device.cuh"
#include "cuda/lane_sums.cuh"
#include "cuda/sgemm_shared.cuh"

namespace greenkernels::cuda {

inline constexpr int kFewWarps = 4;
inline constexpr int kMostFewRows = 16;

// Columns of a block: as many as make 32 sums a lane at the most, and four, so that enough is on its way.
template <int kRows>
inline constexpr int kFewColumns = kRows <= 8 ? 4 : 2;

// At least args.m, which is at least 1, is kRows; block (x, z) owns columns kFewColumns * x and on of item z.
template <int kRows>
__global__ void __launch_bounds__(kFewWarps* kWarp) sgemm_few_rows_kernel(SgemmArgs<float> args) {
  constexpr int kColumns = kFewColumns<kRows>, kSums = kRows * kColumns;
  __shared__ float parts[kFewWarps][kSums];
  const int64_t item = block_z(), col0 = int64_t{block_x()} * kColumns;
  const float* a = args.a + item * args.a_batch + 4 * threadIdx.x;
  const float* b[kColumns];
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {  // the last one again where there is none
    const int64_t col = col0 + j < args.n ? col0 + j : args.n - 1;
    b[j] = args.b + item * args.b_batch + col * args.b_row + 4 * threadIdx.x;
  }
  const int last = int(args.m) - 1, a_row = int(args.a_row);
  float sums[kSums] = {};
  constexpr int kStep = 4 * kFewWarps * kWarp;
  const auto add = [&](int depth) {
    float4 four[kColumns];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) four[j] = load4(b[j] + depth);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float4 one = load4(a + int64_t{i < last ? i : last} * a_row + depth);
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        float& sum = sums[i * kColumns + j];
        sum = fmaf(one.x, four[j].x, sum);
        sum = fmaf(one.y, four[j].y, sum);
        sum = fmaf(one.z, four[j].z, sum);
        sum = fmaf(one.w, four[j].w, sum);
      }
    }
  };
  const int k = int(args.k), whole = k / kStep * kStep;
#pragma unroll(kRows <= 4 ? 2 : 1)
  for (int depth = 0; depth < whole; depth += kStep) add(depth);
  if (whole + 4 * int(threadIdx.x) < k) add(whole);

  const float sum = sum_over_lanes(sums);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (lane % (kWarp / kSums) == 0) parts[warp][lane / (kWarp / kSums)] = sum;
  __syncthreads();
  const int i = threadIdx.x / kColumns;
  const int64_t j = col0 + threadIdx.x % kColumns;
  if (threadIdx.x >= kSums || i >= args.m || j >= args.n) return;
  float value = 0;
#pragma unroll
  for (int from = 0; from < kFewWarps; ++from) value += parts[from][threadIdx.x];
  float& out = args.out[item * args.out_batch + i * args.out_row + j];
  if (args.bias) value += args.bias[j];
  if (args.beta != 0.0f) value += args.beta * out;
  const float slope =
      args.activation_params ? args.activation_param[args.activation_params > 1 ? j : 0] : 0.0f;
  out = activate(args.activation, value, slope);
}

// Whether sgemm_few_rows_kernel is for them; `vector`: 16-byte loads fit.
inline bool sgemm_has_few_rows(const SgemmArgs<float>& args, bool vector) {
  return vector && args.m <= kMostFewRows && args.a_depth == 1 && args.b_depth == 1 &&
         args.a_row <= INT32_MAX;
}

inline cudaError_t launch_sgemm_few_rows(const SgemmArgs<float>& args, cudaStream_t stream) {
  const auto kernel = args.m == 1   ? sgemm_few_rows_kernel<1>
                      : args.m == 2 ? sgemm_few_rows_kernel<2>
                      : args.m <= 4 ? sgemm_few_rows_kernel<4>
                      : args.m <= 8 ? sgemm_few_rows_kernel<8>
                                    : sgemm_few_rows_kernel<16>;
  const int64_t blocks = blocks_for(args.n, args.m <= 8 ? kFewColumns<8> : kFewColumns<16>);
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (args.m == 0 || blocks == 0) return cudaSuccess;
  return launch_batch(args, [&](const SgemmArgs<float>& some, unsigned items) {
    return launch(kernel, dim3(unsigned(blocks), 1, items), dim3(kFewWarps * kWarp), 0, stream, some);
  });
}

}  // namespace greenkernels::cuda
