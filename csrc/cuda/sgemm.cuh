// sgemm on CUDA in float32 (no tensor cores): tiles of out of 256 x 128 or 128 x 128, 16 x 8 or 8 x 8
// elements a thread, slices of eight products in two buffers, so that one is filled while the other is
// multiplied.
#pragma once

#include "api/sgemm.h"
#include "cuda/activation.cuh"
#include "cuda/sgemm_tile.cuh"

namespace greenkernels::cuda {

// Depths of a slice that are multiplied without a branch. All, but for Blackwell: there ptxas 13.0 loads so
// far ahead that eight would spill up to 64 bytes, and four up to 120.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
inline constexpr int kSgemmUnroll = 2;
#else
inline constexpr int kSgemmUnroll = kSgemmDepth;
#endif

inline constexpr int kSgemmColumns = 128;  // of out that a block owns

// Rows of out that a block owns, with kLaneRows of them in a thread.
template <int kLaneRows>
inline constexpr int kSgemmRows = 16 * kLaneRows;

// The kLaneRows x 8 elements of a thread. A warp owns 8 kLaneRows x 32 of the tile, its lanes stand 8 x 4 on
// it, and a lane has rows 32 i + 4 r + {0..3} and columns 4 c + {0..3}, 16 + 4 c + {0..3}: so all that lanes
// read from a slice is 16 bytes wide and without bank conflicts, and the four lanes of a row store two whole
// sectors of out.
template <int kLaneRows>
class SgemmSums {
 public:
  __device__ void add_slice(const SgemmSlice<kSgemmRows<kLaneRows>>& a, const SgemmSlice<kSgemmColumns>& b) {
#pragma unroll kSgemmUnroll
    for (int d = 0; d < kSgemmDepth; ++d) {
      float4 rows[kLaneRows / 4];
#pragma unroll
      for (int i = 0; i < kLaneRows / 4; ++i) rows[i] = load4(&a[d][row(4 * i)]);
      const float4 low_col = load4(&b[d][col(0)]), high_col = load4(&b[d][col(4)]);
      const float cols[] = {low_col.x,  low_col.y,  low_col.z,  low_col.w,
                            high_col.x, high_col.y, high_col.z, high_col.w};
#pragma unroll
      for (int i = 0; i < kLaneRows; ++i) {
        const float4 four = rows[i / 4];
        const float one = i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
#pragma unroll
        for (int j = 0; j < 8; ++j) sums_[i][j] = fmaf(one, cols[j], sums_[i][j]);
      }
    }
  }

  // Writes act(bias + beta * out + sums) for what lies within out. `vector_out`: its rows allow 16-byte
  // accesses.
  __device__ void write(const SgemmArgs<float>& args, float* out, int64_t row0, int64_t col0,
                        bool vector_out) {
    const bool relu_here = args.activation == Activation::kRelu;
#pragma unroll
    for (int half = 0; half < 8; half += 4) {
      const int64_t first = col0 + col(half);
      float bias[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) bias[j] = args.bias && first + j < args.n ? args.bias[first + j] : 0.0f;
#pragma unroll
      for (int i = 0; i < kLaneRows; ++i) {
        if (row0 + row(i) >= args.m) continue;
        float* to = out + (row0 + row(i)) * args.out_row + first;
        float values[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          values[j] = sums_[i][half + j] + bias[j];
          if (args.beta != 0.0f && first + j < args.n) values[j] += args.beta * to[j];
          if (relu_here) values[j] = relu(values[j]);
        }
        if (vector_out && first < args.n) {
          store4_global(to, make_float4(values[0], values[1], values[2], values[3]));
        } else {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            if (first + j < args.n) to[j] = values[j];
          }
        }
      }
    }
  }

  // Applies the activation to what this thread wrote. Not in registers: their 8 kLaneRows copies of a switch
  // over all activations would be most of the kernel, for the sake of the rare ones.
  __device__ static void activate_written(const SgemmArgs<float>& args, float* out, int64_t row0,
                                          int64_t col0) {
#pragma unroll 1
    for (int element = 0; element < 8 * kLaneRows; ++element) {
      const int64_t i = row0 + row(element / 8), j = col0 + col(element % 8);
      if (i >= args.m || j >= args.n) continue;
      const float slope =
          args.activation_params ? args.activation_param[args.activation_params > 1 ? j : 0] : 0.0f;
      float& value = out[i * args.out_row + j];
      value = activate(args.activation, value, slope);
    }
  }

 private:
  __device__ static int row(int i) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    return warp / 4 * (8 * kLaneRows) + i / 4 * 32 + lane / 4 * 4 + i % 4;
  }
  __device__ static int col(int j) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    return warp % 4 * 32 + j / 4 * 16 + lane % 4 * 4 + j % 4;
  }

  float sums_[kLaneRows][8] = {};
};

// Where the tile of a block lies. Block (x, z) owns the tile x of item z, tiles numbered down the columns of
// tiles: neighbours share one of b.
struct SgemmPlace {
  int64_t item, row0, col0;

  __device__ static SgemmPlace of_block(int tiles_down, int rows) {
    const int tile = block_x();
    return {block_z(), int64_t{tile % tiles_down} * rows, int64_t{tile / tiles_down} * kSgemmColumns};
  }
};

template <int kLaneRows, bool kADepthFirst, bool kBDepthFirst, int kVector>
__global__ void __launch_bounds__(kSgemmThreads, 16 / kLaneRows)
    sgemm_kernel(SgemmArgs<float> args, int tiles_down, bool vector_out) {
  constexpr int kRows = kSgemmRows<kLaneRows>;
  __shared__ __align__(16) SgemmSlice<kRows> a_slices[2];
  __shared__ __align__(16) SgemmSlice<kSgemmColumns> b_slices[2];
  const SgemmPlace place = SgemmPlace::of_block(tiles_down, kRows);
  SgemmShare<kRows, kADepthFirst, kVector> a(
      {args.a + place.item * args.a_batch, args.a_row, args.a_depth, args.m}, place.row0);
  SgemmShare<kSgemmColumns, kBDepthFirst, kVector> b(
      {args.b + place.item * args.b_batch, args.b_row, args.b_depth, args.n}, place.col0);
  SgemmSums<kLaneRows> sums;

  const int k = int(args.k);
  a.begin(a_slices[0], k);
  b.begin(b_slices[0], k);
  a.finish(a_slices[0]);
  b.finish(b_slices[0]);
  wait_for_copies();
  __syncthreads();
  int stage = 0;
  for (int left = k; left > 0; left -= kSgemmDepth) {
    const int other = stage ^ 1;
    const bool more = left > kSgemmDepth;
    if (more) {
      a.begin(a_slices[other], left - kSgemmDepth);
      b.begin(b_slices[other], left - kSgemmDepth);
    }
    sums.add_slice(a_slices[stage], b_slices[stage]);
    if (more) {
      a.finish(a_slices[other]);
      b.finish(b_slices[other]);
    }
    wait_for_copies();
    __syncthreads();  // the other slice is there, and this one is multiplied by all
    stage = other;
  }

  const SgemmPlace here =
      SgemmPlace::of_block(tiles_down, kRows);  // again: no register is left to keep it in
  float* out = args.out + here.item * args.out_batch;
  sums.write(args, out, here.row0, here.col0, vector_out);
  if (args.activation != Activation::kNone && args.activation != Activation::kRelu) {
    SgemmSums<kLaneRows>::activate_written(args, out, here.row0, here.col0);
  }
}

// Whether a thread may load 16 bytes along the stride of 1 of an operand with `rows` rows.
inline bool sgemm_loads_vectors(const SgemmOperand& operand, int64_t k, int64_t batch_stride) {
  const bool depth_first = operand.depth_stride == 1;
  const int64_t across = depth_first ? operand.row_stride : operand.depth_stride;
  const int64_t extent = depth_first ? k : operand.rows;
  return is_aligned(operand.data, 16) && across % 4 == 0 && extent % 4 == 0 && batch_stride % 4 == 0;
}

template <int kLaneRows, int kVector>
auto sgemm_kernel_for(bool a_depth_first, bool b_depth_first) {
  if (a_depth_first) {
    return b_depth_first ? sgemm_kernel<kLaneRows, true, true, kVector>
                         : sgemm_kernel<kLaneRows, true, false, kVector>;
  }
  return b_depth_first ? sgemm_kernel<kLaneRows, false, true, kVector>
                       : sgemm_kernel<kLaneRows, false, false, kVector>;
}

// kVector of 4 where `vector`, whose tiles alone are worth being large.
template <int kLaneRows>
cudaError_t launch_sgemm_tiles(SgemmArgs<float> args, bool vector, cudaStream_t stream) {
  const int64_t tiles_down = blocks_for(args.m, kSgemmRows<kLaneRows>);
  const int64_t tiles = tiles_down * blocks_for(args.n, kSgemmColumns);
  if (tiles > INT32_MAX) return cudaErrorInvalidConfiguration;
  const bool vector_out =
      is_aligned(args.out, 16) && args.n % 4 == 0 && args.out_row % 4 == 0 && args.out_batch % 4 == 0;
  const auto kernel = vector ? sgemm_kernel_for<kLaneRows, 4>(args.a_depth == 1, args.b_depth == 1)
                             : sgemm_kernel_for<8, 1>(args.a_depth == 1, args.b_depth == 1);
  for (int64_t left = args.batch; left > 0 && tiles > 0; left -= kMostItems) {
    const dim3 grid(unsigned(tiles), 1, unsigned(left < kMostItems ? left : kMostItems));
    const cudaError_t status =
        launch(kernel, grid, dim3(kSgemmThreads), 0, stream, args, int(tiles_down), vector_out);
    if (status != cudaSuccess) return status;
    args.a += kMostItems * args.a_batch;
    args.b += kMostItems * args.b_batch;
    args.out += kMostItems * args.out_batch;
  }
  return cudaSuccess;
}

// The large tile reads a quarter less; it is taken where its blocks, one a multiprocessor, are two for each.
inline bool sgemm_takes_large_tiles(const SgemmArgs<float>& args, int multiprocessors) {
  const int64_t tiles = blocks_for(args.m, kSgemmRows<16>) * blocks_for(args.n, kSgemmColumns);
  return args.batch * tiles >= 2 * multiprocessors;
}

inline cudaError_t launch_sgemm(const SgemmArgs<float>& args, cudaStream_t stream) {
  if (args.packed != nullptr || args.k > INT32_MAX) return cudaErrorInvalidValue;
  const SgemmOperand a{args.a, args.a_row, args.a_depth, args.m}, b{args.b, args.b_row, args.b_depth, args.n};
  const bool vector =
      sgemm_loads_vectors(a, args.k, args.a_batch) && sgemm_loads_vectors(b, args.k, args.b_batch);
  int multiprocessors;
  const cudaError_t status = count_multiprocessors(&multiprocessors);
  if (status != cudaSuccess) return status;
  return vector && sgemm_takes_large_tiles(args, multiprocessors)
             ? launch_sgemm_tiles<16>(args, true, stream)
             : launch_sgemm_tiles<8>(args, vector, stream);
}

}  // namespace greenkernels::cuda
