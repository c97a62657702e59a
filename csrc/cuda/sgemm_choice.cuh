// The part of sgemm that chooses tiles, and how many parts of the depth are multiplied apart.
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

}  // namespace greenkernels::cuda
