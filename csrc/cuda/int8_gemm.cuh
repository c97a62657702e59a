// int8_gemm on CUDA by tensor cores (mma.m16n8k32): 128 x 128 tiles of out, eight warps of 64 x 32, slices of
// 64 bytes in three stages of asynchronous copies, scales and bias applied to the sums in registers.
#pragma once

#include <type_traits>

#include "api/int8_gemm.h"
#include "cuda/activation.cuh"
#include "cuda/int8_tile.cuh"

namespace greenkernels::cuda {

// The 64 x 32 sums of a warp: 4 x 4 products of 16 x 8, four of each in a lane, rows l / 4 and l / 4 + 8,
// columns 2 (l % 4) and the next.
template <bool kUnsigned>
class Int8Sums {
 public:
  __device__ void add_slice(Int8Slice& a, Int8Slice& b) {
#pragma unroll
    for (int chunk = 0; chunk < kInt8Chunks; chunk += 2) {  // 32 bytes of depth, two chunks
      uint32_t rows[kDown][4], columns[kAcross / 2][4];
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        load_matrices(rows[i], a.chunk(row0() + 16 * i + lane() % 16, chunk + lane() / 16));
      }
#pragma unroll
      for (int j = 0; j < kAcross / 2; ++j) {  // two products in one load
        const int row = col0() + 16 * j + lane() / 16 * 8 + lane() % 8;
        load_matrices(columns[j], b.chunk(row, chunk + lane() / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
          const uint32_t* part = columns[j / 2] + j % 2 * 2;
          multiply_add_int8<kUnsigned>(sums_[i][j], rows[i], part[0], part[1]);
        }
      }
    }
  }

  // Calls write(row of the tile, column of the tile, sum, sum of the next column) for each pair of this lane.
  template <typename Write>
  __device__ void for_each_pair(Write write) const {
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          write(row0() + 16 * i + 8 * half + lane() / 4, col0() + 8 * j + 2 * (lane() % 4),
                sums_[i][j][2 * half], sums_[i][j][2 * half + 1]);
        }
      }
    }
  }

  // Calls visit(row, column) for each element of this lane, in a loop that is not unrolled.
  template <typename Visit>
  __device__ static void for_each_place(Visit visit) {
#pragma unroll 1
    for (int element = 0; element < 64; ++element) {
      const int i = element / 16, j = element / 4 % 4, half = element / 2 % 2;
      visit(row0() + 16 * i + 8 * half + lane() / 4, col0() + 8 * j + 2 * (lane() % 4) + element % 2);
    }
  }

 private:
  static constexpr int kDown = 4, kAcross = 4;  // products of 16 x 8 in a warp

  __device__ static int lane() { return threadIdx.x % kWarp; }
  __device__ static int row0() { return threadIdx.x / kWarp / 4 * 64; }
  __device__ static int col0() { return threadIdx.x / kWarp % 4 * 32; }

  int sums_[kDown][kAcross][4] = {};
};

// out[i, j] from a sum of products of a as it is.
__device__ inline int int8_without_zero_point(const Int8CudaGemmArgs& args, int64_t i, int64_t j, int sum) {
  if (args.zero_points == 0) return sum;
  return sum - args.zero_point[args.zero_points > 1 ? i : 0] * args.b_sums[j];
}

__device__ inline float int8_scaled(const Int8CudaGemmArgs& args, int64_t i, int64_t j, int sum) {
  const Int8Epilogue& epilogue = args.epilogue;
  const float scale = args.row_scale[args.row_scales > 1 ? i : 0] * epilogue.col_scale[j];
  return fmaf(scale, float(sum), epilogue.bias ? epilogue.bias[j] : 0.0f);
}

// Writes out[i, j] and out[i, j + 1]; `pairs`: rows of out allow 8-byte accesses.
template <bool kFloat>
__device__ inline void int8_write(const Int8CudaGemmArgs& args, int64_t i, int64_t j, const int (&sums)[2],
                                  bool pairs) {
  if (i >= args.m || j >= args.n) return;
  using T = std::conditional_t<kFloat, float, int>;
  T* to = static_cast<T*>(args.out) + i * args.n + j;
  T values[2];
#pragma unroll
  for (int next = 0; next < 2; ++next) {
    if (j + next >= args.n) continue;
    const int sum = int8_without_zero_point(args, i, j + next, sums[next]);
    if constexpr (kFloat) {
      const float value = int8_scaled(args, i, j + next, sum);
      values[next] = args.epilogue.activation == Activation::kRelu ? relu(value) : value;
    } else {
      values[next] = sum;
    }
  }
  if (pairs) {
    store2_global(to, values[0], values[1]);
  } else {
    to[0] = values[0];
    if (j + 1 < args.n) to[1] = values[1];
  }
}

// Applies the activation to an element that this thread wrote. Not in registers, for the reason that
// sgemm.cuh gives.
__device__ inline void int8_activate_written(const Int8CudaGemmArgs& args, int64_t i, int64_t j) {
  if (i >= args.m || j >= args.n) return;
  const Int8Epilogue& epilogue = args.epilogue;
  const int64_t at = epilogue.activation_params > 1 ? j : 0;
  const float slope = epilogue.activation_params ? epilogue.activation_param[at] : 0.0f;
  float& value = static_cast<float*>(args.out)[i * args.n + j];
  value = activate(epilogue.activation, value, slope);
}

template <bool kUnsigned, bool kFloat, bool kVector>
__global__ void __launch_bounds__(kInt8Threads, 2)
    int8_gemm_mma_kernel(Int8CudaGemmArgs args, int tiles_down, bool pairs) {
  __shared__ Int8Slice a_slices[kInt8Stages], b_slices[kInt8Stages];
  const int tile = blockIdx.x;
  const int64_t first_row = int64_t{tile % tiles_down} * kInt8Tile,
                first_col = int64_t{tile / tiles_down} * kInt8Tile;
  const int k = int(args.k), slices = (k + kInt8Depth - 1) / kInt8Depth;
  const Int8Share<kVector> a({static_cast<const int8_t*>(args.a), args.m, k}, first_row);
  const Int8Share<kVector> b({args.b, args.n, k}, first_col);
  Int8Sums<kUnsigned> sums;

  // A group for each slice, also for those past the last: so that the same number is always open.
  const auto begin = [&](int slice, int stage) {
    if (slice < slices) {
      a.begin(a_slices[stage], slice);
      b.begin(b_slices[stage], slice);
    }
    close_group();
  };
#pragma unroll
  for (int slice = 0; slice < kInt8Stages - 1; ++slice) begin(slice, slice);
  int stage = 0, next = kInt8Stages - 1;  // of this slice, and of the one to begin: slice % kInt8Stages
  for (int slice = 0; slice < slices; ++slice) {
    wait_for_groups<kInt8Stages - 2>();
    __syncthreads();  // this slice is there for all, and all are done with the one before, whose place is
                      // next
    begin(slice + kInt8Stages - 1, next);
    sums.add_slice(a_slices[stage], b_slices[stage]);
    next = stage;
    stage = stage == kInt8Stages - 1 ? 0 : stage + 1;
  }

  sums.for_each_pair([&](int row, int col, int first, int second) {
    int8_write<kFloat>(args, first_row + row, first_col + col, {first, second}, pairs);
  });
  const Activation activation = args.epilogue.activation;
  if (kFloat && activation != Activation::kNone && activation != Activation::kRelu) {
    Int8Sums<kUnsigned>::for_each_place(
        [&](int row, int col) { int8_activate_written(args, first_row + row, first_col + col); });
  }
}

inline cudaError_t launch_int8_gemm(const Int8CudaGemmArgs& args, cudaStream_t stream) {
  const bool floats = args.output == Int8Output::kFloat, is_unsigned = args.input == Int8Input::kUint8;
  if (args.k > kInt8Slice || args.input == Int8Input::kFloat || args.output == Int8Output::kUint8 ||
      args.epilogue.skip != nullptr) {
    return cudaErrorInvalidValue;
  }
  const int64_t tiles_down = blocks_for(args.m, kInt8Tile);
  const int64_t tiles = tiles_down * blocks_for(args.n, kInt8Tile);
  if (tiles > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (tiles == 0) return cudaSuccess;
  const bool vector = args.k % kInt8Chunk == 0 && is_aligned(args.a, 16) && is_aligned(args.b, 16);
  const bool pairs = args.n % 2 == 0 && is_aligned(args.out, 8);
  using Kernel = void (*)(Int8CudaGemmArgs, int, bool);
  static constexpr Kernel kKernels[2][2][2] = {
      {{int8_gemm_mma_kernel<false, false, false>, int8_gemm_mma_kernel<false, false, true>},
       {int8_gemm_mma_kernel<false, true, false>, int8_gemm_mma_kernel<false, true, true>}},
      {{int8_gemm_mma_kernel<true, false, false>, int8_gemm_mma_kernel<true, false, true>},
       {int8_gemm_mma_kernel<true, true, false>, int8_gemm_mma_kernel<true, true, true>}}};
  const dim3 grid{unsigned(tiles)};
  return launch(kKernels[is_unsigned][floats][vector], grid, dim3(kInt8Threads), 0, stream, args,
                int(tiles_down), pairs);
}

}  // namespace greenkernels::cuda
