// The part of int8_gemm that chooses tiles and cuts the depth where there are too few of them. Sums are
// integers, so parts of them add up exactly.
#pragma once

#include "api/int8_gemm.h"
#include "cuda/depth_split.cuh"
#include "cuda/int8_element.cuh"
#include "cuda/int8_sums.cuh"

namespace greenkernels::cuda {

using Int8LargeTile = Int8Tile<4, 2, 4, 8, 1>;   // 256 x 128
using Int8MediumTile = Int8Tile<2, 2, 4, 8, 2>;  // 128 x 128
using Int8SmallTile = Int8Tile<1, 4, 2, 4, 4>;   // 32 x 128: for few rows, which read b and little else

enum class Int8Size { kLarge, kMedium, kSmall };

struct Int8Plan {
  Int8Size size;
  int64_t parts;  // of the depth
  int64_t depth;  // of each but the last; whole slices where there are several
};

// Clocks of a launch whose multiprocessors have `blocks` tiles of that depth each, at the most. Of an H100:
// 128 x 128 alone were timed (32 x 4096 x 4096), and two beside each other take what one of 256 x 128 did
// (4096^3). 32 x 128 is reckoned, not timed: a block alone waits for its slices, several read as fast as the
// memory gives.
inline int64_t int8_clocks(Int8Size size, int64_t blocks, int64_t depth) {
  if (size == Int8Size::kSmall) return 4000 + depth * (7 * blocks + 2);
  return 5000 + depth * (blocks == 1 ? 36 : 27 * blocks) / 2;
}

// The large tile reads a quarter less; it is taken where its blocks, one a multiprocessor, are two for each.
// The small one takes twice the instructions of the medium one, and 2.5 times the reads: only for what leaves
// half of the other empty. Else the fastest way, in one part unless there `is_scratch` memory. `vector`:
// 16-byte copies fit.
inline Int8Plan int8_plan(const Int8CudaGemmArgs& args, int multiprocessors, bool vector, bool is_scratch) {
  constexpr int64_t kLeastDepth = 4 * kInt8Depth;  // of a part: shorter ones are mostly beginning and end
  const auto tiles_of = [&](auto tile) {
    return blocks_for(args.m, tile.kRows) * blocks_for(args.n, tile.kColumns);
  };
  if (vector && tiles_of(Int8LargeTile()) >= 2 * multiprocessors) return {Int8Size::kLarge, 1, args.k};
  Int8Plan best{};
  int64_t best_clocks = -1;
  for (const Int8Size size : {Int8Size::kMedium, Int8Size::kSmall}) {
    if (size == Int8Size::kSmall && (!vector || 2 * args.m > Int8MediumTile::kRows)) continue;
    const int64_t tiles = size == Int8Size::kMedium ? tiles_of(Int8MediumTile()) : tiles_of(Int8SmallTile());
    const int64_t most = is_scratch && tiles < 4 * multiprocessors ? kMostDepthParts : 1;
    for_each_split(args.k, kInt8Depth, kLeastDepth, most, [&](int64_t parts, int64_t depth) {
      const int64_t clocks = int8_clocks(size, blocks_for(tiles * parts, multiprocessors), depth) +
                             sum_clocks(parts, args.m * args.n, multiprocessors);
      if (best_clocks < 0 || clocks < best_clocks) best = {size, parts, depth}, best_clocks = clocks;
    });
  }
  return best;
}

// The product of parts, into scratch memory [parts][m][n]. The kernel gets its depth from plan.depth.
inline Int8CudaGemmArgs int8_parts(const Int8CudaGemmArgs& args, int32_t* scratch) {
  Int8CudaGemmArgs parts{};
  parts.a = args.a, parts.b = args.b, parts.out = scratch;
  parts.input = args.input, parts.output = Int8Output::kSums;
  parts.m = args.m, parts.n = args.n, parts.k = args.k;
  return parts;
}

// out of the sums of partial [parts][m][n], kVector neighbours a thread: 4 where 16-byte accesses fit in.
template <int kVector>
__global__ void __launch_bounds__(kSumThreads)
    int8_sum_kernel(Int8CudaGemmArgs args, const int* partial, int parts) {
  const auto [row, col] = SumPlace<kVector>::of_thread(args.n);
  if (row >= args.m) return;
  int sums[kVector] = {};
  add_parts(sums, partial + row * args.n + col, parts, args.m * args.n);
  int8_write_elements(args, row, col, sums);
}

inline cudaError_t launch_int8_sum(const Int8CudaGemmArgs& args, const Int8Plan& plan, const int* partial,
                                   cudaStream_t stream) {
  const bool vector = int8_makes_vectors(args);
  return launch(vector ? int8_sum_kernel<4> : int8_sum_kernel<1>, sum_grid(args.m, args.n, vector ? 4 : 1),
                dim3(kSumThreads), 0, stream, args, partial, int(plan.parts));
}

}  // namespace greenkernels::cuda
