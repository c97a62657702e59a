// int8_gemm on CUDA by tensor cores (mma.m16n8k32): tiles of out of 256 x 128 or 128 x 128, a warp for each
// 64 x 64 of them, slices of 64 bytes in three stages of asynchronous copies, scales and bias applied to the
// sums in registers. Up to 8 rows of a go to int8_few_rows.cuh.
#pragma once

#include <type_traits>

#include "api/int8_gemm.h"
#include "cuda/activation.cuh"
#include "cuda/int8_few_rows.cuh"
#include "cuda/int8_tile.cuh"

namespace greenkernels::cuda {

inline constexpr int kInt8WarpTile = 64;  // rows and columns of out that a warp owns
inline constexpr int kInt8WarpsAcross = 2;
inline constexpr int kInt8Columns = kInt8WarpsAcross * kInt8WarpTile;  // of out that a block owns

// What a block of kWarpsDown x kInt8WarpsAcross warps owns and needs.
template <int kWarpsDown>
struct Int8Block {
  static constexpr int kRows = kWarpsDown * kInt8WarpTile;
  static constexpr int kThreads = kWarpsDown * kInt8WarpsAcross * kWarp;
  Int8Slice<kRows> a[kInt8Stages];  // in shared memory
  Int8Slice<kInt8Columns> b[kInt8Stages];
};

static_assert(sizeof(Int8Block<4>) <= 99 << 10, "what a block gets on every GPU, when it asks");

// The 64 x 64 sums of a warp: 4 x 8 products of 16 x 8, four of each in a lane, rows l / 4 and l / 4 + 8,
// columns 2 (l % 4) and the next.
template <bool kUnsigned>
class Int8Sums {
 public:
  static constexpr int kDown = 4, kAcross = 8;  // products of 16 x 8 in a warp

  // The addresses are those of the slices in shared memory.
  __device__ void add_slice(unsigned a_slice, unsigned b_slice) {
#pragma unroll
    for (int chunk = 0; chunk < kInt8Chunks; chunk += 2) {  // 32 bytes of depth, two chunks
      // Rows 16 i are in the same places of later banks: int8_place has a period of eight rows.
      const unsigned a_row = a_slice + int8_place(row0() + lane() % 16, chunk + lane() / 16);
      const unsigned b_row =
          b_slice + int8_place(col0() + lane() / 16 * 8 + lane() % 8, chunk + lane() / 8 % 2);
      uint32_t rows[kDown][4], columns[kAcross / 2][4];
#pragma unroll
      for (int i = 0; i < kDown; ++i) load_matrices(rows[i], a_row + 16 * i * kInt8Depth);
#pragma unroll
      for (int j = 0; j < kAcross / 2; ++j) load_matrices(columns[j], b_row + 16 * j * kInt8Depth);  // two
#pragma unroll
      for (int j = 0; j < kAcross; ++j) {
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
          const uint32_t* part = columns[j / 2] + j % 2 * 2;
          multiply_add_int8<kUnsigned>(sums_[i][j], rows[i], part[0], part[1]);
        }
      }
    }
  }

  // Two neighbours, in row row_of(line) and columns column_of(j) and the next.
  __device__ const int* pair(int line, int j) const { return sums_[line / 2][j] + line % 2 * 2; }

  static constexpr int kLines = 2 * kDown;  // rows of the tile in which a lane has sums
  __device__ static int row_of(int line) { return row0() + 8 * line + lane() / 4; }
  __device__ static int column_of(int j) { return col0() + 8 * j + 2 * (lane() % 4); }

 private:
  __device__ static int lane() { return threadIdx.x % kWarp; }
  __device__ static int row0() { return threadIdx.x / kWarp / kInt8WarpsAcross * kInt8WarpTile; }
  __device__ static int col0() { return threadIdx.x / kWarp % kInt8WarpsAcross * kInt8WarpTile; }

  int sums_[kDown][kAcross][4] = {};
};

// Writes what a lane has of a tile at (row0, col0): sums, or floats with their scales, bias and relu.
// `pairs`: rows of out allow 8-byte accesses.
template <bool kFloat, typename Sums>
__device__ inline void int8_write_tile(const Int8CudaGemmArgs& args, const Sums& sums, int64_t row0,
                                       int64_t col0, bool pairs) {
  using T = std::conditional_t<kFloat, float, int>;
  const bool with_relu = args.epilogue.activation == Activation::kRelu;
  float scales[Sums::kLines];
  int points[Sums::kLines];
#pragma unroll
  for (int line = 0; line < Sums::kLines; ++line) {
    const int64_t i = row0 + Sums::row_of(line);
    const bool inside = i < args.m;
    scales[line] = kFloat && inside ? args.row_scale[args.row_scales > 1 ? i : 0] : 0.0f;
    points[line] = inside && args.zero_points ? args.zero_point[args.zero_points > 1 ? i : 0] : 0;
  }
#pragma unroll
  for (int j = 0; j < Sums::kAcross; ++j) {
    const int64_t column = col0 + Sums::column_of(j);
    if (column >= args.n) continue;
    const bool both = column + 1 < args.n;
    float col_scale[2] = {}, bias[2] = {};
    int b_sums[2] = {};
    if (kFloat) load2(col_scale, args.epilogue.col_scale + column, both);
    if (kFloat && args.epilogue.bias) load2(bias, args.epilogue.bias + column, both);
    if (args.zero_points) load2(b_sums, args.b_sums + column, both);
#pragma unroll
    for (int line = 0; line < Sums::kLines; ++line) {
      const int64_t i = row0 + Sums::row_of(line);
      if (i >= args.m) continue;
      T values[2];
#pragma unroll
      for (int next = 0; next < 2; ++next) {
        const int sum = sums.pair(line, j)[next] - points[line] * b_sums[next];
        if constexpr (kFloat) {
          const float value = fmaf(scales[line] * col_scale[next], float(sum), bias[next]);
          values[next] = with_relu ? relu(value) : value;
        } else {
          values[next] = sum;
        }
      }
      T* to = static_cast<T*>(args.out) + i * args.n + column;
      if (pairs) {
        store2_global(to, values[0], values[1]);
      } else {
        to[0] = values[0];
        if (both) to[1] = values[1];
      }
    }
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

template <int kWarpsDown, bool kUnsigned, bool kFloat, bool kVector>
__global__ void __launch_bounds__(Int8Block<kWarpsDown>::kThreads, 4 / kWarpsDown)
    int8_gemm_mma_kernel(Int8CudaGemmArgs args, int tiles_down, bool pairs) {
  using Block = Int8Block<kWarpsDown>;
  extern __shared__ __align__(16) int8_t int8_shared[];
  Block& block = *reinterpret_cast<Block*>(int8_shared);
  const int tile = blockIdx.x;
  const int64_t first_row = int64_t{tile % tiles_down} * Block::kRows,
                first_col = int64_t{tile / tiles_down} * kInt8Columns;
  const int k = int(args.k), slices = (k + kInt8Depth - 1) / kInt8Depth;
  const Int8Share<Block::kRows, Block::kThreads, kVector> a({static_cast<const int8_t*>(args.a), args.m, k},
                                                            first_row);
  const Int8Share<kInt8Columns, Block::kThreads, kVector> b({args.b, args.n, k}, first_col);
  Int8Sums<kUnsigned> sums;

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

  int8_write_tile<kFloat>(args, sums, first_row, first_col, pairs);
  const Activation activation = args.epilogue.activation;
  if (kFloat && activation != Activation::kNone && activation != Activation::kRelu) {
    using Sums = Int8Sums<kUnsigned>;
#pragma unroll 1
    for (int element = 0; element < Sums::kLines * Sums::kAcross * 2; ++element) {
      const int line = element / (Sums::kAcross * 2), j = element / 2 % Sums::kAcross;
      int8_activate_written(args, first_row + Sums::row_of(line),
                            first_col + Sums::column_of(j) + element % 2);
    }
  }
}

using Int8Kernel = void (*)(Int8CudaGemmArgs, int, bool);

template <int kWarpsDown, bool kVector>
Int8Kernel int8_kernel_for(bool is_unsigned, bool floats) {
  if (is_unsigned) {
    return floats ? int8_gemm_mma_kernel<kWarpsDown, true, true, kVector>
                  : int8_gemm_mma_kernel<kWarpsDown, true, false, kVector>;
  }
  return floats ? int8_gemm_mma_kernel<kWarpsDown, false, true, kVector>
                : int8_gemm_mma_kernel<kWarpsDown, false, false, kVector>;
}

template <int kWarpsDown, bool kVector>
cudaError_t launch_int8_tiles(const Int8CudaGemmArgs& args, cudaStream_t stream) {
  using Block = Int8Block<kWarpsDown>;
  const int64_t tiles_down = blocks_for(args.m, Block::kRows);
  const int64_t tiles = tiles_down * blocks_for(args.n, kInt8Columns);
  if (tiles > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (tiles == 0) return cudaSuccess;
  const bool floats = args.output == Int8Output::kFloat;
  const Int8Kernel kernel = int8_kernel_for<kWarpsDown, kVector>(args.input == Int8Input::kUint8, floats);
  const cudaError_t status = allow_shared_bytes(kernel, sizeof(Block));
  if (status != cudaSuccess) return status;
  const bool pairs = args.n % 2 == 0 && is_aligned(args.out, 8);
  const dim3 grid{unsigned(tiles)}, threads(Block::kThreads);
  return launch(kernel, grid, threads, sizeof(Block), stream, args, int(tiles_down), pairs);
}

// The large tile reads a quarter less; it is taken where its blocks, one a multiprocessor, are two for each.
inline bool int8_takes_large_tiles(int64_t m, int64_t n, int multiprocessors) {
  return blocks_for(m, Int8Block<4>::kRows) * blocks_for(n, kInt8Columns) >= 2 * multiprocessors;
}

inline cudaError_t launch_int8_gemm(const Int8CudaGemmArgs& args, cudaStream_t stream) {
  if (args.k > kInt8Slice || args.input == Int8Input::kFloat || args.output == Int8Output::kUint8 ||
      args.epilogue.skip != nullptr) {
    return cudaErrorInvalidValue;
  }
  const bool vector = args.k % kInt8Chunk == 0 && is_aligned(args.a, 16) && is_aligned(args.b, 16);
  if (!vector) return launch_int8_tiles<2, false>(args, stream);
  if (args.m > 0 && args.m <= kInt8MostFewRows) {
    return args.input == Int8Input::kUint8 ? launch_int8_few_rows<true>(args, stream)
                                           : launch_int8_few_rows<false>(args, stream);
  }
  int multiprocessors;
  const cudaError_t status = count_multiprocessors(&multiprocessors);
  if (status != cudaSuccess) return status;
  return int8_takes_large_tiles(args.m, args.n, multiprocessors) ? launch_int8_tiles<4, true>(args, stream)
                                                                 : launch_int8_tiles<2, true>(args, stream);
}

}  // namespace greenkernels::cuda
