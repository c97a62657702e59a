// out = act(bias + beta * out + sums of products): every product is read once, every element of out written
// once.
#pragma once

#include "cuda/sgemm_shared.cuh"
#include "cuda/strassen_gemm/scheme.cuh"

namespace greenkernels::cuda {

inline constexpr int kStrassenCombineThreads = 256;

// The products of one band of rows of out.
template <typename T>
struct StrassenSums {
  const T* products;      // [7^levels][rows][pitch]
  int64_t rows, columns;  // of a block
  int64_t pitch;          // elements from row to row
  int levels;

  __device__ int64_t size() const { return rows * pitch; }
};

// An element of each of the 2^kLevels x 2^kLevels blocks of out, of the products from `from` on, which lie
// `size` elements apart.
template <int kLevels>
__device__ inline void combine_products(float (&out)[1 << 2 * kLevels], const float* from, int64_t size) {
  constexpr int kBlocks = 1 << kLevels, kInner = 1 << 2 * (kLevels - 1), kAcross = kBlocks / 2;
  static_assert(kLevels <= 2, "of three levels no 64 elements of out stay in registers on Blackwell");
  constexpr int64_t kStep = strassen_products(kLevels - 1);  // products within one of this level
#pragma unroll
  for (int product = 0; product < 7; ++product) {
    float inner[kInner];
    if constexpr (kLevels == 1) {
      inner[0] = from[product * size];
    } else {
      combine_products<kLevels - 1>(inner, from + kStep * product * size, size);
    }
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      const int sign = strassen_sign<StrassenMatrix::kOut>(product, block);
      bool first = true;
#pragma unroll
      for (int before = 0; before < product; ++before) {
        first = first && strassen_sign<StrassenMatrix::kOut>(before, block) == 0;
      }
      if (sign == 0) continue;
#pragma unroll
      for (int i = 0; i < kInner; ++i) {
        const int row = block / 2 * kAcross + i / kAcross, col = block % 2 * kAcross + i % kAcross;
        float& sum = out[row * kBlocks + col];
        const float term = sign > 0 ? inner[i] : -inner[i];
        sum = first ? term : sum + term;
      }
    }
  }
}

// A thread owns one place in a block, in all blocks of out. Block `index` has places of one row.
template <int kLevels>
__global__ void __launch_bounds__(kStrassenCombineThreads)
    strassen_combine_kernel(SgemmArgs<float> args, StrassenSums<float> sums, int blocks_across) {
  constexpr int kBlocks = 1 << kLevels;
  const int row = blockIdx.x / blocks_across;
  const int col = blockIdx.x % blocks_across * kStrassenCombineThreads + threadIdx.x;
  if (col >= sums.columns) return;
  float out[kBlocks * kBlocks];
  combine_products<kLevels>(out, sums.products + row * sums.pitch + col, sums.size());
  const bool rare = args.activation != Activation::kNone && args.activation != Activation::kRelu;
#pragma unroll
  for (int block = 0; block < kBlocks * kBlocks; ++block) {
    const int64_t i = block / kBlocks * sums.rows + row, j = block % kBlocks * sums.columns + col;
    if (i >= args.m || j >= args.n) continue;
    float& to = args.out[i * args.out_row + j];
    float value = out[block] + (args.bias ? args.bias[j] : 0.0f);
    if (args.beta != 0.0f) value += args.beta * to;
    to = args.activation == Activation::kRelu ? relu(value) : value;
  }
  if (!rare) return;
#pragma unroll 1
  for (int block = 0; block < kBlocks * kBlocks; ++block) {
    activate_written(args, args.out, block / kBlocks * sums.rows + row, block % kBlocks * sums.columns + col);
  }
}

template <int kLevels>
cudaError_t launch_strassen_combine(const SgemmArgs<float>& args, const StrassenSums<float>& sums,
                                    cudaStream_t stream) {
  const int64_t across = blocks_for(sums.columns, kStrassenCombineThreads);
  if (across * sums.rows > INT32_MAX) return cudaErrorInvalidConfiguration;
  return launch(strassen_combine_kernel<kLevels>, dim3(unsigned(across * sums.rows)),
                dim3(kStrassenCombineThreads), 0, stream, args, sums, int(across));
}

}  // namespace greenkernels::cuda
