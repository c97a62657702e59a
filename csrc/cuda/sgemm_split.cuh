// The part of sgemm that chooses tiles, and cuts the depth where there are too few of them: parts of it are
// multiplied as the items of a batch, into scratch memory, and added up in order.
#pragma once

#include "api/sgemm.h"
#include "cuda/depth_split.cuh"
#include "cuda/sgemm_sums.cuh"

namespace greenkernels::cuda {

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
  constexpr int64_t kLeastDepth = 64;  // of a part: shorter ones are mostly their beginning and end
  SgemmPlan best{};
  int64_t best_clocks = -1;
  for (const bool large : {true, false}) {
    const int side = large ? kSgemmTile<16> : kSgemmTile<8>;
    const int64_t tiles = blocks_for(args.m, side) * blocks_for(args.n, side) * args.batch;
    const bool may_split = is_scratch && args.batch == 1 && tiles < 4 * multiprocessors;
    const int64_t most = may_split ? kMostDepthParts : 1;
    for_each_split(args.k, kSgemmDepth, kLeastDepth, most, [&](int64_t parts, int64_t depth) {
      const int64_t clocks = sgemm_clocks(large, blocks_for(tiles * parts, multiprocessors), depth) +
                             sum_clocks(parts, args.m * args.n, multiprocessors);
      if (best_clocks < 0 || clocks < best_clocks) best = {large, parts, depth}, best_clocks = clocks;
    });
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
  const auto [row, col] = SumPlace<kVector>::of_thread(args.n);
  if (row >= args.m) return;
  float sums[kVector] = {};
  add_parts(sums, partial + row * args.n + col, parts, args.m * args.n);
  float* out = args.out + row * args.out_row + col;
  float more[kVector];
  if (args.bias) {
    load_neighbours(more, args.bias + col);
#pragma unroll
    for (int j = 0; j < kVector; ++j) sums[j] += more[j];
  }
  if (args.beta != 0.0f) {
    load_neighbours(more, out);
#pragma unroll
    for (int j = 0; j < kVector; ++j) sums[j] += args.beta * more[j];
  }
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    const int64_t at = args.activation_params > 1 ? col + j : 0;
    const float slope = args.activation_params ? args.activation_param[at] : 0.0f;
    sums[j] = activate(args.activation, sums[j], slope);
  }
  store_neighbours(out, sums);
}

inline cudaError_t launch_sgemm_sum(const SgemmArgs<float>& args, const SgemmPlan& plan, const float* partial,
                                    cudaStream_t stream) {
  const bool vector =
      is_aligned(args.out, 16) && is_aligned(args.bias, 16) && args.n % 4 == 0 && args.out_row % 4 == 0;
  return launch(vector ? sgemm_sum_kernel<4> : sgemm_sum_kernel<1>, sum_grid(args.m, args.n, vector ? 4 : 1),
                dim3(kSumThreads), 0, stream, args, partial, int(plan.parts));
}

}  // namespace greenkernels::cuda
