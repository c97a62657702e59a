// sgemm_tf32x3 on CUDA by tensor cores (mma.m16n8k8 of TF32): slices of 16 depths in four stages of
// asynchronous copies, factors split in registers, the sums of sixteen depths made by tensor cores and added
// up by the ordinary adder, which rounds to nearest.
#pragma once

#include "api/sgemm.h"
#include "cuda/sgemm_tf32x3_sums.cuh"

namespace greenkernels::cuda {

inline constexpr int kTf32Stages = 4;  // slices in shared memory: three on their way, one in use
inline constexpr int kTf32Group = 8;   // tiles down before the next across: they meet in the L2 cache
// Depths that a kernel sums, one slice after the other; more are added to out by the next. The error of a sum
// grows with the root of how many are added in a row, 256 slices here.
inline constexpr int64_t kTf32Block = 4096;

// Which tile a block owns: tiles are numbered down kTf32Group of them, then across, then in the next group.
struct Tf32Place {
  int64_t row0, col0;

  template <typename Tile>
  __device__ static Tf32Place of_block(int tiles_down, int tiles_across) {
    const int tile = block_x(), first = tile / (kTf32Group * tiles_across) * kTf32Group;
    const int down = min(tiles_down - first, kTf32Group), rest = tile - first * tiles_across;
    return {int64_t{first + rest % down} * Tile::kRows, int64_t{rest / down} * Tile::kColumns};
  }
};

template <typename Tile, bool kADepthFirst, bool kBDepthFirst, int kVector>
struct Tf32Block {
  using A = Tf32Share<Tile::kRows, Tile::kThreads, kADepthFirst, kVector>;
  using B = Tf32Share<Tile::kColumns, Tile::kThreads, kBDepthFirst, kVector>;
  typename A::Slice a[kTf32Stages];  // in shared memory
  typename B::Slice b[kTf32Stages];
};

template <typename Tile, bool kADepthFirst, bool kBDepthFirst, int kVector>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    sgemm_tf32x3_kernel(SgemmArgs<float> args, int tiles_down, int tiles_across, bool pairs) {
  using Block = Tf32Block<Tile, kADepthFirst, kBDepthFirst, kVector>;
  static_assert(sizeof(Block) <= 99 << 10, "what a block gets on every GPU, when it asks");
  extern __shared__ __align__(16) float tf32_shared[];
  constexpr unsigned kASlice = sizeof(typename Block::A::Slice), kBSlice = sizeof(typename Block::B::Slice);
  const unsigned a_slices = shared_address(tf32_shared), b_slices = a_slices + kTf32Stages * kASlice;
  const Tf32Place place = Tf32Place::of_block<Tile>(tiles_down, tiles_across);
  typename Block::A a({args.a + block_z() * args.a_batch, args.a_row, args.a_depth, args.m}, place.row0);
  typename Block::B b({args.b + block_z() * args.b_batch, args.b_row, args.b_depth, args.n}, place.col0);
  using Sums = Tf32Sums<Tile, typename Block::A::Slice, typename Block::B::Slice>;
  Sums sums;

  // A group for each slice, also for those past the last, which bring zeros: the same number is always open.
  int left = int(args.k);  // depths not yet begun
  const auto begin = [&](int stage) {
    a.begin(a_slices + stage * kASlice, left);
    b.begin(b_slices + stage * kBSlice, left);
    close_group();
    left = max(left - kTf32Depth, 0);
  };
#pragma unroll
  for (int stage = 0; stage < kTf32Stages - 1; ++stage) begin(stage);
  wait_for_groups<kTf32Stages - 2>();
  __syncthreads();
  sums.start(a_slices, b_slices);
  int stage = 0, before = kTf32Stages - 1;  // of this slice, and of the one before
  for (int rest = int(args.k); rest > 0; rest -= kTf32Depth) {
    const int next = stage == kTf32Stages - 1 ? 0 : stage + 1;
    const auto bring = [&] {
      wait_for_groups<kTf32Stages - 3>();
      __syncthreads();  // the next slice is there for all, and all are done with the one before
      begin(before);
    };
    sums.add_slice(a_slices + stage * kASlice, a_slices + next * kASlice, b_slices + next * kBSlice, bring);
    before = stage;
    stage = next;
  }

  const Tf32Place here = Tf32Place::of_block<Tile>(tiles_down, tiles_across);  // again: it held no register
  float* out = args.out + block_z() * args.out_batch;
  sums.finish();
  sums.write(args, out, here.row0, here.col0, pairs);
  if (args.activation != Activation::kNone && args.activation != Activation::kRelu) {
    Sums::activate_all(args, out, here.row0, here.col0);
  }
}

template <typename Tile, bool kADepthFirst, bool kBDepthFirst, int kVector>
cudaError_t launch_tf32x3_kernel(const SgemmArgs<float>& args, cudaStream_t stream) {
  using Block = Tf32Block<Tile, kADepthFirst, kBDepthFirst, kVector>;
  const int64_t tiles_down = blocks_for(args.m, Tile::kRows),
                tiles_across = blocks_for(args.n, Tile::kColumns);
  if (tiles_down * tiles_across > INT32_MAX) return cudaErrorInvalidConfiguration;
  const auto kernel = sgemm_tf32x3_kernel<Tile, kADepthFirst, kBDepthFirst, kVector>;
  const cudaError_t allowed = allow_shared_bytes(kernel, sizeof(Block));
  if (allowed != cudaSuccess) return allowed;
  const bool pairs =
      is_aligned(args.out, 8) && args.n % 2 == 0 && args.out_row % 2 == 0 && args.out_batch % 2 == 0;
  if (tiles_down * tiles_across == 0) return cudaSuccess;
  return launch_batch(args, [&](const SgemmArgs<float>& some, unsigned items) {
    return launch(kernel, dim3(unsigned(tiles_down * tiles_across), 1, items), dim3(Tile::kThreads),
                  sizeof(Block), stream, some, int(tiles_down), int(tiles_across), pairs);
  });
}

template <typename Tile, int kVector>
cudaError_t launch_tf32x3_block(const SgemmArgs<float>& args, cudaStream_t stream) {
  const bool a_depth_first = args.a_depth == 1, b_depth_first = args.b_depth == 1;
  if (a_depth_first) {
    return b_depth_first ? launch_tf32x3_kernel<Tile, true, true, kVector>(args, stream)
                         : launch_tf32x3_kernel<Tile, true, false, kVector>(args, stream);
  }
  return b_depth_first ? launch_tf32x3_kernel<Tile, false, true, kVector>(args, stream)
                       : launch_tf32x3_kernel<Tile, false, false, kVector>(args, stream);
}

template <typename Tile, int kVector>
cudaError_t launch_tf32x3_tiles(const SgemmArgs<float>& args, cudaStream_t stream) {
  int64_t from = 0;
  do {
    SgemmArgs<float> part = args;
    const bool last = args.k - from <= kTf32Block;
    part.a += from * args.a_depth;
    part.b += from * args.b_depth;
    part.k = last ? args.k - from : kTf32Block;
    if (from > 0) part.beta = 1.0f;
    if (!last) part.bias = nullptr, part.activation = Activation::kNone;
    const cudaError_t status = launch_tf32x3_block<Tile, kVector>(part, stream);
    if (status != cudaSuccess) return status;
    from += kTf32Block;
  } while (from < args.k);
  return cudaSuccess;
}

// Whether threads may copy 16 bytes along the stride of 1 of an operand.
inline bool tf32_copies_vectors(const Tf32Operand& operand, int64_t k, int64_t batch_stride) {
  const bool depth_first = operand.depth_stride == 1;
  const int64_t across = depth_first ? operand.row_stride : operand.depth_stride;
  const int64_t extent = depth_first ? k : operand.rows;
  return is_aligned(operand.data, 16) && across % 4 == 0 && extent % 4 == 0 && batch_stride % 4 == 0;
}

using Tf32LargeTile = Tf32Tile<2, 4, 4, 4, 1>;  // 128 x 128
using Tf32SmallTile = Tf32Tile<2, 2, 2, 4, 2>;  // 64 x 64

// A large tile takes a multiprocessor 3.5 times as long as a small one (measured on an H100), and the busiest
// multiprocessor decides.
inline bool tf32_takes_large_tiles(const SgemmArgs<float>& args, int multiprocessors) {
  const auto busiest = [&](int64_t rows, int64_t columns) {
    return blocks_for(args.batch * blocks_for(args.m, rows) * blocks_for(args.n, columns), multiprocessors);
  };
  return 7 * busiest(Tf32LargeTile::kRows, Tf32LargeTile::kColumns) <=
         2 * busiest(Tf32SmallTile::kRows, Tf32SmallTile::kColumns);
}

inline cudaError_t launch_sgemm_tf32x3(const SgemmArgs<float>& args, cudaStream_t stream) {
  if (args.packed != nullptr || args.skip != nullptr || args.k > INT32_MAX) return cudaErrorInvalidValue;
  const Tf32Operand a{args.a, args.a_row, args.a_depth, args.m}, b{args.b, args.b_row, args.b_depth, args.n};
  if (!tf32_copies_vectors(a, args.k, args.a_batch) || !tf32_copies_vectors(b, args.k, args.b_batch)) {
    return launch_tf32x3_tiles<Tf32SmallTile, 1>(args, stream);
  }
  int multiprocessors;
  const cudaError_t status = count_multiprocessors(&multiprocessors);
  if (status != cudaSuccess) return status;
  return tf32_takes_large_tiles(args, multiprocessors) ? launch_tf32x3_tiles<Tf32LargeTile, 4>(args, stream)
                                                       : launch_tf32x3_tiles<Tf32SmallTile, 4>(args, stream);
}

}  // namespace greenkernels::cuda
