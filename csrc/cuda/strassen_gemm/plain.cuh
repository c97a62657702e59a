// strassen_gemm for what is rare: float64, no level of a packed weight, and three levels. An element a
// thread, terms looked up one by one.
#pragma once

#include "cuda/strassen_gemm/combine.cuh"

namespace greenkernels::cuda {

inline constexpr int kStrassenPlainThreads = 256;
inline constexpr int kStrassenPlainSide = 16;  // of a tile of products
inline constexpr int64_t kStrassenPlainBlocks = 1
                                                << 16;  // of a launch, at the most: threads then take several

inline unsigned strassen_plain_blocks(int64_t elements) {
  const int64_t blocks = blocks_for(elements, kStrassenPlainThreads);
  return unsigned(blocks < kStrassenPlainBlocks ? blocks : kStrassenPlainBlocks);
}

// Element (row, d) of a product: the sum of its terms in the matrix, 0 beyond its edges.
template <StrassenMatrix kMatrix, typename T>
__device__ inline T strassen_sum(const SgemmPackArgs<T>& x, int levels, int product, int64_t row, int64_t d) {
  const int64_t rows = strassen_block(x.n, levels), depth = strassen_block(x.k, levels);
  T sum = 0;
  for (int choice = 0; choice < 1 << levels; ++choice) {
    const StrassenTerm term = strassen_term<kMatrix>(levels, product, choice);
    const int64_t x_row = term.row * rows + row, x_d = term.col * depth + d;
    if (term.sign == 0 || x_row >= x.n || x_d >= x.k) continue;
    const T value = x.b[x_row * x.row_stride + x_d * x.depth_stride];
    sum += term.sign > 0 ? value : -value;
  }
  return sum;
}

template <StrassenMatrix kMatrix, typename T>
__global__ void __launch_bounds__(kStrassenPlainThreads)
    strassen_plain_pack_kernel(SgemmPackArgs<T> x, int levels) {
  const int64_t rows = strassen_block(x.n, levels), depth = strassen_block(x.k, levels);
  const int64_t padded = sgemm_padded_columns(rows), size = padded * depth;
  const int64_t all = strassen_products(levels) * size, step = int64_t{gridDim.x} * kStrassenPlainThreads;
  for (int64_t i = int64_t{blockIdx.x} * kStrassenPlainThreads + threadIdx.x; i < all; i += step) {
    const int64_t row = i % padded, d = i / padded % depth, product = i / size;
    const T sum = row < rows ? strassen_sum<kMatrix>(x, levels, int(product), row, d) : T(0);
    x.packed[product * size + PanelPlace::of(rows, depth, row, d).index] = sum;
  }
}

template <StrassenMatrix kMatrix, typename T>
cudaError_t launch_strassen_plain_pack(const SgemmPackArgs<T>& x, int levels, cudaStream_t stream) {
  const int64_t elements = strassen_packed_size(x.n, x.k, levels);
  if (elements == 0) return cudaSuccess;
  return launch(strassen_plain_pack_kernel<kMatrix, T>, dim3(strassen_plain_blocks(elements)),
                dim3(kStrassenPlainThreads), 0, stream, x, levels);
}

// Products in float64; items of the batch are products, as in strassen_product_kernel. A thread an element.
__global__ void __launch_bounds__(kStrassenPlainSide* kStrassenPlainSide)
    strassen_plain_product_kernel(SgemmArgs<double> args) {
  const int64_t row = int64_t{blockIdx.y} * kStrassenPlainSide + threadIdx.y;
  const int64_t col = int64_t{blockIdx.x} * kStrassenPlainSide + threadIdx.x;
  if (row >= args.m || col >= args.n) return;
  const double* a = args.a + blockIdx.z * args.a_batch;
  const double* b = args.b + blockIdx.z * args.b_batch;
  double sum = 0;
  for (int64_t slice = 0; slice < args.k; slice += kSgemmSlice) {
    const PanelPlace a_place = PanelPlace::of(args.m, args.k, row, slice);
    const PanelPlace b_place = PanelPlace::of(args.n, args.k, col, slice);
    const int deep = int(args.k - slice < kSgemmSlice ? args.k - slice : kSgemmSlice);
    for (int d = 0; d < deep; ++d) {
      sum = fma(a[a_place.index + d * a_place.width], b[b_place.index + d * b_place.width], sum);
    }
  }
  args.out[blockIdx.z * args.out_batch + row * args.out_row + col] = sum;
}

inline cudaError_t launch_strassen_products(const SgemmArgs<double>& products, int, cudaStream_t stream) {
  const int64_t down = blocks_for(products.m, kStrassenPlainSide),
                across = blocks_for(products.n, kStrassenPlainSide);
  if (down > kMostItems || across > INT32_MAX) return cudaErrorInvalidConfiguration;
  const dim3 grid(unsigned(across), unsigned(down), unsigned(products.batch)),
      block(kStrassenPlainSide, kStrassenPlainSide);
  return launch(strassen_plain_product_kernel, grid, block, 0, stream, products);
}

// A thread an element of out.
template <typename T>
__global__ void __launch_bounds__(kStrassenPlainThreads)
    strassen_plain_combine_kernel(SgemmArgs<T> args, StrassenSums<T> sums) {
  const int products = int(strassen_products(sums.levels));
  const int64_t step = int64_t{gridDim.x} * kStrassenPlainThreads;
  for (int64_t at = int64_t{blockIdx.x} * kStrassenPlainThreads + threadIdx.x; at < args.m * args.n;
       at += step) {
    const int64_t i = at / args.n, j = at % args.n;
    const int block_row = int(i / sums.rows), block_col = int(j / sums.columns);
    const T* from = sums.products + i % sums.rows * sums.pitch + j % sums.columns;
    T value = 0;
    for (int product = 0; product < products; ++product) {
      const int sign = strassen_out_sign(sums.levels, product, block_row, block_col);
      if (sign != 0) value += sign > 0 ? from[product * sums.size()] : -from[product * sums.size()];
    }
    T& to = args.out[i * args.out_row + j];
    if (args.bias) value += args.bias[j];
    if (args.beta != T(0)) value += args.beta * to;
    const int64_t slope = args.activation_params > 1 ? j : 0;
    to = activate(args.activation, value, args.activation_params ? args.activation_param[slope] : T(0));
  }
}

template <typename T>
cudaError_t launch_strassen_plain_combine(const SgemmArgs<T>& args, const StrassenSums<T>& sums,
                                          cudaStream_t stream) {
  return launch(strassen_plain_combine_kernel<T>, dim3(strassen_plain_blocks(args.m * args.n)),
                dim3(kStrassenPlainThreads), 0, stream, args, sums);
}

}  // namespace greenkernels::cuda
