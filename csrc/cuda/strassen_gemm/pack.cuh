// The sums of blocks of an operand, in the packed layout of api/strassen_gemm.h, in one pass over it.
// Products then read them as they read any operand: a tile of a sum in place of tiles of its terms.
#pragma once

#include "cuda/strassen_gemm/scheme.cuh"

namespace greenkernels::cuda {

inline constexpr int kStrassenPackThreads = 256;
inline constexpr int kStrassenPackDepth = 32;  // of the tile of a block, which has the rows of a panel
inline constexpr int kStrassenPackWarps = kStrassenPackThreads / kWarp;
// Elements of each block of the matrix that a thread has: kStrassenPackWarps lines apart.
inline constexpr int kStrassenPackElements = kStrassenPackDepth / kStrassenPackWarps;

static_assert(kSgemmPanel == kWarp, "a warp reads or writes the width of a panel");
static_assert(kSgemmSlice % kStrassenPackDepth == 0, "a tile lies in one slice");

// What a block of threads does: a warp reads along stride 1 of the matrix, and writes along a panel.
template <StrassenMatrix kMatrix, int kLevels, bool kDepthFirst>
class StrassenPackTile {
 public:
  using Turning = float (*)[kSgemmPanel][kStrassenPackDepth + 1];

  __device__ StrassenPackTile(const SgemmPackArgs<float>& x, int tiles_deep)
      : x_(x),
        rows_(strassen_block(x.n, kLevels)),
        depth_(strassen_block(x.k, kLevels)),
        row0_(blockIdx.x / tiles_deep * kSgemmPanel),
        depth0_(blockIdx.x % tiles_deep * kStrassenPackDepth) {}

  // Reads this thread's elements of all blocks; 0 beyond the edges of the matrix and of a block.
  __device__ void load() {
#pragma unroll
    for (int block = 0; block < kBlocks * kBlocks; ++block) {
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        const int row = row0_ + (kDepthFirst ? line(i) : lane());
        const int d = depth0_ + (kDepthFirst ? lane() : line(i));
        const int64_t x_row = block / kBlocks * rows_ + row, x_d = block % kBlocks * depth_ + d;
        const bool inside = row < rows_ && d < depth_ && x_row < x_.n && x_d < x_.k;
        blocks_[block][i] = inside ? x_.b[x_row * x_.row_stride + x_d * x_.depth_stride] : 0.0f;
      }
    }
  }

  // Writes the sums of all products. turning: where rows become columns, for seven of them at once.
  __device__ void write(Turning turning) const {
    if constexpr (kLevels == 1) {
      write_seven(blocks_, 0, turning);
    } else {
#pragma unroll
      for (int outer = 0; outer < 7; ++outer) {
        float quarter[4][kElements];
#pragma unroll
        for (int inner = 0; inner < 4; ++inner) {
          sum_blocks<kMatrix, 2 * kBlocks, 2>(quarter[inner], blocks_ + inner / 2 * kBlocks + inner % 2,
                                              outer);
        }
        write_seven(quarter, 7 * outer, turning);
      }
    }
  }

 private:
  static constexpr int kBlocks = 1 << kLevels, kElements = kStrassenPackElements;
  static_assert(kLevels == 1 || kLevels == 2);

  __device__ static int lane() { return threadIdx.x % kWarp; }
  __device__ static int line(int i) { return threadIdx.x / kWarp + i * kStrassenPackWarps; }

  // The sums of the seven products from `first` on, of the blocks of one level.
  __device__ void write_seven(const float (*blocks)[kElements], int first, Turning turning) const {
    float sums[kElements];
    if constexpr (kDepthFirst) {
#pragma unroll
      for (int product = 0; product < 7; ++product) {
        sum_blocks<kMatrix, 2, 1>(sums, blocks, product);
#pragma unroll
        for (int i = 0; i < kElements; ++i) turning[product][line(i)][lane()] = sums[i];
      }
      __syncthreads();
    }
    const PanelPlace place = PanelPlace::of(rows_, depth_, row0_ + lane(), depth0_ + line(0));
    const int64_t size = sgemm_padded_columns(rows_) * depth_;
    float* to = x_.packed + first * size + place.index;
#pragma unroll
    for (int product = 0; product < 7; ++product, to += size) {
      if constexpr (!kDepthFirst) sum_blocks<kMatrix, 2, 1>(sums, blocks, product);
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        const float sum = kDepthFirst ? turning[product][lane()][line(i)] : sums[i];
        if (lane() < place.width && depth0_ + line(i) < depth_) {
          to[i * kStrassenPackWarps * place.width] = sum;
        }
      }
    }
    if constexpr (kDepthFirst && kLevels > 1) __syncthreads();  // before the next seven overwrite these
  }

  const SgemmPackArgs<float>& x_;
  int64_t rows_, depth_;  // of a block
  int row0_, depth0_;     // of the tile, in each block
  float blocks_[kBlocks * kBlocks][kElements];
};

// Thread block `index` owns one panel, kStrassenPackDepth deep, of all sums: those of a panel lie beside each
// other.
template <StrassenMatrix kMatrix, int kLevels, bool kDepthFirst>
__global__ void __launch_bounds__(kStrassenPackThreads)
    strassen_pack_kernel(SgemmPackArgs<float> x, int tiles_deep) {
  __shared__ float turning[kDepthFirst ? 7 : 1][kSgemmPanel]
                          [kStrassenPackDepth + 1];  // a spare for the banks
  StrassenPackTile<kMatrix, kLevels, kDepthFirst> tile(x, tiles_deep);
  tile.load();
  tile.write(turning);
}

template <StrassenMatrix kMatrix, int kLevels>
cudaError_t launch_strassen_pack(const SgemmPackArgs<float>& x, cudaStream_t stream) {
  const int64_t rows = strassen_block(x.n, kLevels), depth = strassen_block(x.k, kLevels);
  const int64_t panels = blocks_for(rows, kSgemmPanel), deep = blocks_for(depth, kStrassenPackDepth);
  if (panels * deep > INT32_MAX) return cudaErrorInvalidConfiguration;
  if (panels * deep == 0) return cudaSuccess;
  const auto kernel = x.depth_stride == 1 ? strassen_pack_kernel<kMatrix, kLevels, true>
                                          : strassen_pack_kernel<kMatrix, kLevels, false>;
  return launch(kernel, dim3(unsigned(panels * deep)), dim3(kStrassenPackThreads), 0, stream, x, int(deep));
}

}  // namespace greenkernels::cuda
