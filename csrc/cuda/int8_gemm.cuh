// int8_gemm on CUDA by tensor cores (mma.m16n8k32): tiles of out of 256 x 128, 128 x 128 or 32 x 128, slices
// of 64 bytes in three stages of asynchronous copies, scales and bias applied to the sums in registers. Up to
// 8 rows of a go to int8_few_rows.cuh, parts of the depth to int8_split.cuh.
#pragma once

#include <type_traits>

#include "api/int8_gemm.h"
#include "cuda/int8_few_rows.cuh"
#include "cuda/int8_split.cuh"
#include "cuda/int8_sums.cuh"
#include "cuda/int8_tile.cuh"

namespace greenkernels::cuda {

// What a block has in shared memory.
template <typename Tile>
struct Int8Block {
  Int8Slice<Tile::kRows> a[kInt8Stages];
  Int8Slice<Tile::kColumns> b[kInt8Stages];
};

static_assert(sizeof(Int8Block<Int8LargeTile>) <= 99 << 10, "what a block gets on every GPU, when it asks");

// Applies the activation to an element that this thread wrote. Not in registers, for the reason that
// sgemm_shared.cuh gives.
__device__ inline void int8_activate_written(const Int8CudaGemmArgs& args, int64_t i, int64_t j) {
  if (i >= args.m || j >= args.n) return;
  float& value = static_cast<float*>(args.out)[i * args.n + j];
  value = int8_activate(args.epilogue, j, value);
}

// Block (x, z) owns tile x, tiles numbered down the columns of tiles, and part z of the depth, of which there
// are several for sums only: out is [parts][m][n] then.
template <typename Tile, bool kUnsigned, bool kFloat, bool kVector>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    int8_gemm_mma_kernel(Int8CudaGemmArgs args, int tiles_down, int part_depth, bool pairs) {
  using Block = Int8Block<Tile>;
  using Sums = Int8Sums<Tile, kUnsigned>;
  using Out = std::conditional_t<kFloat, float, int>;
  extern __shared__ __align__(16) int8_t int8_shared[];
  Block& block = *reinterpret_cast<Block*>(int8_shared);
  const int tile = blockIdx.x;
  const int64_t first_row = int64_t{tile % tiles_down} * Tile::kRows,
                first_col = int64_t{tile / tiles_down} * Tile::kColumns;
  const int stride = int(args.k), from = kFloat ? 0 : block_z() * part_depth;
  const int k = min(part_depth, stride - from), slices = (k + kInt8Depth - 1) / kInt8Depth;
  const Int8Share<Tile::kRows, Tile::kThreads, kVector> a(
      {static_cast<const int8_t*>(args.a) + from, args.m, stride, k}, first_row);
  const Int8Share<Tile::kColumns, Tile::kThreads, kVector> b({args.b + from, args.n, stride, k}, first_col);
  Sums sums;

  // A group for each slice, also for those past the last, which bring zeros: the same number is always open.
  const auto begin = [&](int slice, int stage) {
    a.begin(block.a + stage, slice);
    b.begin(block.b + stage, slice);
    close_group();
  };
#pragma unroll
  for (int slice = 0; slice < kInt8Stages - 1; ++slice) begin(slice, slice);
  int stage = 0, next = kInt8Stages - 1;  // of this slice, and of the one to begin: slice % kInt8Stages
  for (int slice = 0; slice < slices; ++slice) {
    wait_for_groups<kInt8Stages - 2>();
    __syncthreads();  // this slice is there for all, and all are done with the one before: its place is next
    begin(slice + kInt8Stages - 1, next);
    sums.add_slice(shared_address(block.a + stage), shared_address(block.b + stage));
    next = stage;
    stage = stage == kInt8Stages - 1 ? 0 : stage + 1;
  }

  Out* out = static_cast<Out*>(args.out);
  if (!kFloat) out += block_z() * args.m * args.n;
  int8_write_tile(args, sums, out, first_row, first_col, pairs);
  const Activation activation = args.epilogue.activation;
  if (kFloat && activation != Activation::kNone && activation != Activation::kRelu) {
#pragma unroll 1
    for (int element = 0; element < Sums::kLines * Sums::kAcross * 2; ++element) {
      const int line = element / (Sums::kAcross * 2), j = element / 2 % Sums::kAcross;
      int8_activate_written(args, first_row + Sums::row_of(line),
                            first_col + Sums::column_of(j) + element % 2);
    }
  }
}

template <typename Tile, bool kVector>
auto int8_kernel_for(bool is_unsigned, bool floats) {
  if (is_unsigned) {
    return floats ? int8_gemm_mma_kernel<Tile, true, true, kVector>
                  : int8_gemm_mma_kernel<Tile, true, false, kVector>;
  }
  return floats ? int8_gemm_mma_kernel<Tile, false, true, kVector>
                : int8_gemm_mma_kernel<Tile, false, false, kVector>;
}

template <typename Tile, bool kVector>
cudaError_t launch_int8_tiles(const Int8CudaGemmArgs& args, const Int8Plan& plan, cudaStream_t stream) {
  using Block = Int8Block<Tile>;
  const int64_t tiles_down = blocks_for(args.m, Tile::kRows);
  const int64_t tiles = tiles_down * blocks_for(args.n, Tile::kColumns);
  if (tiles > INT32_MAX) return cudaErrorInvalidConfiguration;
  const bool floats = args.output == Int8Output::kFloat;
  const auto kernel = int8_kernel_for<Tile, kVector>(args.input == Int8Input::kUint8, floats);
  const cudaError_t status = allow_shared_bytes(kernel, sizeof(Block));
  if (status != cudaSuccess) return status;
  const bool pairs = args.n % 2 == 0 && is_aligned(args.out, 8);
  return launch(kernel, dim3(unsigned(tiles), 1, unsigned(plan.parts)), dim3(Tile::kThreads), sizeof(Block),
                stream, args, int(tiles_down), int(plan.depth), pairs);
}

inline cudaError_t launch_int8_planned(const Int8CudaGemmArgs& args, const Int8Plan& plan, bool vector,
                                       cudaStream_t stream) {
  if (!vector) return launch_int8_tiles<Int8MediumTile, false>(args, plan, stream);
  switch (plan.size) {
    case Int8Size::kLarge:
      return launch_int8_tiles<Int8LargeTile, true>(args, plan, stream);
    case Int8Size::kMedium:
      return launch_int8_tiles<Int8MediumTile, true>(args, plan, stream);
    case Int8Size::kSmall:
      return launch_int8_tiles<Int8SmallTile, true>(args, plan, stream);
  }
  return cudaErrorInvalidValue;
}

inline bool int8_loads_vectors(const Int8CudaGemmArgs& args) {
  return args.k % kInt8Chunk == 0 && is_aligned(args.a, 16) && is_aligned(args.b, 16);
}

inline bool int8_has_few_rows(const Int8CudaGemmArgs& args) {
  return args.m <= kInt8MostFewRows && int8_loads_vectors(args);
}

inline cudaError_t int8_plan_here(const Int8CudaGemmArgs& args, bool is_scratch, Int8Plan* plan) {
  int multiprocessors;
  const cudaError_t status = count_multiprocessors(&multiprocessors);
  if (status == cudaSuccess) *plan = int8_plan(args, multiprocessors, int8_loads_vectors(args), is_scratch);
  return status;
}

// Elements of scratch memory that launch_int8_gemm wants.
inline int64_t int8_scratch_of(const Int8CudaGemmArgs& args) {
  Int8Plan plan;
  if (int8_has_few_rows(args)) return 0;
  if (int8_plan_here(args, true, &plan) != cudaSuccess || plan.parts == 1) return 0;
  return plan.parts * args.m * args.n;
}

// scratch: [int8_scratch_of(args)], or nullptr, and then the depth is in one part.
inline cudaError_t launch_int8_gemm(const Int8CudaGemmArgs& args, int32_t* scratch, cudaStream_t stream) {
  if (args.k > kInt8Slice || args.input == Int8Input::kFloat || args.output == Int8Output::kUint8 ||
      args.epilogue.skip != nullptr) {
    return cudaErrorInvalidValue;
  }
  if (args.m == 0 || args.n == 0) return cudaSuccess;
  if (int8_has_few_rows(args)) {
    return args.input == Int8Input::kUint8 ? launch_int8_few_rows<true>(args, stream)
                                           : launch_int8_few_rows<false>(args, stream);
  }
  Int8Plan plan;
  cudaError_t status = int8_plan_here(args, scratch != nullptr, &plan);
  if (status != cudaSuccess) return status;
  const bool vector = int8_loads_vectors(args);
  if (plan.parts == 1) return launch_int8_planned(args, plan, vector, stream);
  status = launch_int8_planned(int8_parts(args, scratch), plan, vector, stream);
  return status == cudaSuccess ? launch_int8_sum(args, plan, scratch, stream) : status;
}

}  // namespace greenkernels::cuda
