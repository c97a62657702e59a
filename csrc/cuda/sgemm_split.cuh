// The part of sgemm that chooses tiles, and cuts the depth where there are too few of them: parts of it are
// multiplied as the items of a batch, into scratch memory, and added up in order.
#pragma once

#include "api/sgemm.h"
#include "cuda/sgemm_sums.cuh"

namespace greenkernels::cuda {

inline constexpr int kSumThreads = 256;
inline constexpr int kMostDepthParts = 16;

struct SgemmPlan {
  bool large;     // tiles of 128 x 128, else of 64 x 64
  int64_t parts;  // of the depth
  int64_t depth;  // of each but the last; whole slices where there are several
};

// Clocks of a launch whose multiprocessors have `blocks` tiles of that depth each, at the most: two large
// ones run beside each other, or more of the small ones. This and the numbers below were measured on an H100,
// m, n and k from 512 to 8192: within 10 %, but where single small tiles of a great depth wait for memory.
inline int64_t sgemm_clocks(bool large, int64_t blocks, int64_t depth) {
  return large ? 13500 + depth * (167 * blocks + 16 * (blocks % 2)) : 5500 + depth * (58 * blocks + 20);
}

// The fastest way, in one part unless there `is_scratch` memory.
inline SgemmPlan sgemm_plan(const SgemmArgs<float>& args, int multiprocessors, bool is_scratch) {
  constexpr int64_t kSumClocks = 1000;    // that the launch which adds up takes
  constexpr int64_t kBytesPerClock = 10;  // that it reads and writes, of each multiprocessor
  constexpr int64_t kLeastDepth = 64;     // of a part: shorter ones are mostly their beginning and end
  SgemmPlan best{};
  int64_t best_clocks = -1;
  for (const bool large : {true, false}) {
    const int side = large ? kSgemmTile<16> : kSgemmTile<8>;
    const int64_t tiles = blocks_for(args.m, side) * blocks_for(args.n, side) * args.batch;
    const bool may_split = is_scratch && args.batch == 1 && tiles < 4 * multiprocessors;
    for (int64_t parts = 1; parts <= (may_split ? kMostDepthParts : 1); ++parts) {
      const int64_t depth = parts == 1 ? args.k : blocks_for(args.k, parts * kSgemmDepth) * kSgemmDepth;
      if (parts > 1 && (depth < kLeastDepth || (parts - 1) * depth >= args.k)) continue;
      const int64_t sum_bytes = int64_t{sizeof(float)} * (parts + 1) * args.m * args.n;
      const int64_t clocks = sgemm_clocks(large, blocks_for(tiles * parts, multiprocessors), depth) +
                             (parts > 1 ? kSumClocks + sum_bytes / (kBytesPerClock * multiprocessors) : 0);
      if (best_clocks < 0 || clocks < best_clocks) best = {large, parts, depth}, best_clocks = clocks;
    }
  }
  return best;
}

inline cudaError_t sgemm_plan_here(const SgemmArgs<float>& args, bool is_scratch, SgemmPlan* plan) {
  int multiprocessors;
  const cudaError_t status = count_multiprocessors(&multiprocessors);
  if (status == cudaSuccess) *plan = sgemm_plan(args, multiprocessors, is_scratch);
  return status;
}

// The product of parts, as one of a batch into scratch memory. The kernel gets its depth from plan.depth.
inline SgemmArgs<float> sgemm_parts(const SgemmArgs<float>& args, const SgemmPlan& plan, float* scratch) {
  SgemmArgs<float> parts{};
  parts.a = args.a, parts.a_row = args.a_row, parts.a_depth = args.a_depth;
  parts.b = args.b, parts.b_row = args.b_row, parts.b_depth = args.b_depth;
  parts.a_batch = plan.depth * args.a_depth, parts.b_batch = plan.depth * args.b_depth;
  parts.out = scratch, parts.out_batch = args.m * args.n, parts.out_row = args.n;
  parts.batch = plan.parts, parts.m = args.m, parts.n = args.n, parts.k = args.k;
  parts.activation = Activation::kNone;
  return parts;
}

// out = act(bias + beta * out + sum of partial [parts][m][n]), kVector neighbours a thread: 4 where 16-byte
// accesses fit in.
template <int kVector>
__global__ void __launch_bounds__(kSumThreads)
    sgemm_sum_kernel(SgemmArgs<float> args, const float* partial, int parts) {
  const unsigned across = unsigned(args.n) / kVector, number = block_x() * kSumThreads + threadIdx.x;
  const int64_t row = number / across, col = int64_t{number % across} * kVector;
  if (row >= args.m) return;
  const float* from = partial + row * args.n + col;
  float sums[kVector] = {};
#pragma unroll 4
  for (int part = 0; part < parts; ++part, from += args.m * args.n) {
    if constexpr (kVector == 4) {
      const float4 four = load4(from);
      sums[0] += four.x, sums[1] += four.y, sums[2] += four.z, sums[3] += four.w;
    } else {
      sums[0] += from[0];
    }
  }
  float* out = args.out + row * args.out_row + col;
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    if (args.bias) sums[j] += args.bias[col + j];
    if (args.beta != 0.0f) sums[j] += args.beta * out[j];
    const int64_t at = args.activation_params > 1 ? col + j : 0;
    const float slope = args.activation_params ? args.activation_param[at] : 0.0f;
    sums[j] = activate(args.activation, sums[j], slope);
  }
  if constexpr (kVector == 4) {
    store4_global(out, make_float4(sums[0], sums[1], sums[2], sums[3]));
  } else {
    out[0] = sums[0];
  }
}

inline cudaError_t launch_sgemm_sum(const SgemmArgs<float>& args, const SgemmPlan& plan, const float* partial,
                                    cudaStream_t stream) {
  const bool vector = is_aligned(args.out, 16) && args.n % 4 == 0 && args.out_row % 4 == 0;
  const int64_t threads = args.m * args.n / (vector ? 4 : 1);
  return launch(vector ? sgemm_sum_kernel<4> : sgemm_sum_kernel<1>,
                dim3(unsigned(blocks_for(threads, kSumThreads))), dim3(kSumThreads), 0, stream, args, partial,
                int(plan.parts));
}

}  // namespace greenkernels::cuda
