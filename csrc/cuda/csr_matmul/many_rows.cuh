// csr_matmul on CUDA for many rows of x: out^T = W x^T, both turned, so that a nonzero of W multiplies a
// strip of x^T that lies in one piece. A warp owns a row of W and a strip of its products in registers, the
// 1-D tiling of Gale et al., SC 2020.
#pragma once

#include "cuda/csr_matmul/few_rows.cuh"
#include "cuda/csr_matmul/turning.cuh"

namespace greenkernels::cuda {

// Nonzeros that are multiplied without a branch. For Blackwell ptxas 13.0 loads so far ahead that it spills.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
inline constexpr int kNonzerosAtOnce = 4;
#else
inline constexpr int kNonzerosAtOnce = 8;
#endif

// A nonzero, as a lane loads it from shared memory for all of its products.
template <typename T>
struct alignas(2 * sizeof(T)) Nonzero {
  T value;
  int column;
};

// kWidth elements that are loaded at once.
template <typename T, int kWidth>
struct alignas(kWidth * sizeof(T)) Strip {
  T elements[kWidth];
};

// The weight, x and out as the kernels below have them. `stride`, of rows of x^T and out^T, is m in whole
// strips of a warp; past m x^T is 0.
template <typename T>
struct TurnedCsr {
  const Nonzero<T>* nonzeros;  // [nnz]
  const T* x;                  // [k, stride]
  T* out;                      // [n, stride]
  int64_t stride;
};

template <typename T, typename I>
__global__ void __launch_bounds__(kCsrThreads)
    csr_nonzeros_kernel(const T* values, const I* columns, Nonzero<T>* to, CsrShape shape) {
  const int64_t p = int64_t{blockIdx.x} * kCsrThreads + threadIdx.x;
  if (p >= shape.nnz) return;
  const CsrElement<T> element = checked_element(values[p], columns[p], shape.k);
  to[p] = {element.value, element.column};
}

// The sums of one row of W, kVectors strips of kWidth of them in a lane.
template <typename T, int kWidth, int kVectors>
class CsrSums {
 public:
  // Adds the products of one nonzero; `x` is where the lane's part of row 0 of x^T lies.
  __device__ void add(const Nonzero<T>& nonzero, const T* x, unsigned row_bytes) {
    // In bytes: one multiply-add for the address.
    const char* from = reinterpret_cast<const char*>(x) + uint64_t(unsigned(nonzero.column)) * row_bytes;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const auto strip = reinterpret_cast<const Strip<T, kWidth>*>(from)[v * kWarp];
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sums_[v].elements[e] += nonzero.value * strip.elements[e];
    }
  }

  __device__ void write(T* to, T bias) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) sums_[v].elements[e] += bias;
      T* at = to + v * kWarp * kWidth;
      const T(&sum)[kWidth] = sums_[v].elements;
      if constexpr (sizeof(T) == 4 && kWidth == 4) {
        store4_global(at, make_float4(sum[0], sum[1], sum[2], sum[3]));
      } else {
        *reinterpret_cast<Strip<T, kWidth>*>(at) = sums_[v];
      }
    }
  }

 private:
  Strip<T, kWidth> sums_[kVectors] = {};
};

// Warp w of block (x, y) owns row kCsrWarps x + w of W, and the products of strip y of x.
template <typename T, typename I, int kWidth, int kVectors>
__global__ void __launch_bounds__(kCsrThreads)
    csr_many_rows_kernel(CsrCudaArgs<T, I> args, TurnedCsr<T> turned) {
  __shared__ Nonzero<T> shared[kCsrWarps][kWarp];  // of each warp its next ones
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t row = int64_t{blockIdx.x} * kCsrWarps + warp;
  if (row >= args.shape.n) return;
  const int64_t first = (int64_t{blockIdx.y} * kVectors * kWarp + lane) * kWidth;
  const T* x = turned.x + first;
  const unsigned row_bytes = unsigned(turned.stride * sizeof(T));
  const CsrRange range = nonzeros_of(args.crow_indices, row, args.shape);
  const Nonzero<T>* from = turned.nonzeros + range.begin;
  int left = int(range.end - range.begin);
  CsrSums<T, kWidth, kVectors> sums;
  for (; left >= kWarp; left -= kWarp, from += kWarp) {
    shared[warp][lane] = from[lane];
    __syncwarp();
#pragma unroll kNonzerosAtOnce
    for (int p = 0; p < kWarp; ++p) sums.add(shared[warp][p], x, row_bytes);
    __syncwarp();  // before the next ones
  }
  if (lane < left) shared[warp][lane] = from[lane];
  __syncwarp();
  for (int p = 0; p < left; ++p) sums.add(shared[warp][p], x, row_bytes);
  sums.write(turned.out + row * turned.stride + first, args.bias ? args.bias[row] : T(0));
}

// Rows of x in a warp's strip: 32 while more would be mostly padding, else as much as 16-byte loads bring.
inline int64_t csr_strip(int64_t m, int64_t element_bytes) {
  const int64_t wide = kWarp * (16 / element_bytes);
  return m <= wide / 2 ? kWarp : m <= wide ? wide : 2 * wide;
}

inline int64_t csr_stride(int64_t m, int64_t element_bytes) {
  const int64_t strip = csr_strip(m, element_bytes);
  return blocks_for(m, strip) * strip;
}

// Where things lie in scratch memory: bytes from its start, each a multiple of a cache line.
struct CsrScratch {
  int64_t x, out, size;

  static CsrScratch of(const CsrShape& shape, int64_t m, int64_t element_bytes) {
    const int64_t row = csr_stride(m, element_bytes) * element_bytes;
    const int64_t x = blocks_for(2 * element_bytes * shape.nnz, 128) * 128, out = x + shape.k * row;
    return {x, out, out + shape.n * row};
  }
};

template <typename T, typename I>
cudaError_t launch_products(const CsrCudaArgs<T, I>& args, const TurnedCsr<T>& turned, cudaStream_t stream) {
  constexpr int kWidth = 16 / sizeof(T);
  const int64_t strip = csr_strip(args.m, sizeof(T));
  const auto kernel = strip == kWarp            ? csr_many_rows_kernel<T, I, 1, 1>
                      : strip == kWarp * kWidth ? csr_many_rows_kernel<T, I, kWidth, 1>
                                                : csr_many_rows_kernel<T, I, kWidth, 2>;
  const int64_t strips = turned.stride / strip;
  if (strips > 65535 || turned.stride * sizeof(T) > UINT32_MAX) return cudaErrorInvalidConfiguration;
  const dim3 grid(unsigned(blocks_for(args.shape.n, kCsrWarps)), unsigned(strips));
  return launch(kernel, grid, dim3(kCsrThreads), 0, stream, args, turned);
}

template <typename T, typename I>
cudaError_t launch_many_rows(const CsrCudaArgs<T, I>& args, void* scratch, cudaStream_t stream) {
  const CsrScratch places = CsrScratch::of(args.shape, args.m, sizeof(T));
  char* bytes = static_cast<char*>(scratch);
  const int64_t m = args.m, n = args.shape.n, k = args.shape.k, stride = csr_stride(m, sizeof(T));
  Nonzero<T>* nonzeros = reinterpret_cast<Nonzero<T>*>(bytes);
  T *x = reinterpret_cast<T*>(bytes + places.x), *out = reinterpret_cast<T*>(bytes + places.out);
  cudaError_t status = cudaSuccess;
  if (args.shape.nnz > 0) {
    const int64_t blocks = blocks_for(args.shape.nnz, kCsrThreads);
    if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
    status = launch(csr_nonzeros_kernel<T, I>, dim3(unsigned(blocks)), dim3(kCsrThreads), 0, stream,
                    args.values, args.col_indices, nonzeros, args.shape);
  }
  if (status == cudaSuccess) status = launch_turn(Turning<T>{args.x, x, m, k, k, stride, stride}, stream);
  if (status == cudaSuccess) status = launch_products(args, TurnedCsr<T>{nonzeros, x, out, stride}, stream);
  if (status == cudaSuccess) status = launch_turn(Turning<T>{out, args.out, n, m, stride, n, n}, stream);
  return status;
}

// Warp w of block b owns row kCsrWarps b + w of W, and the gradients of its nonzeros one after the other.
template <typename T, typename I>
__global__ void __launch_bounds__(kCsrThreads)
    csr_values_grad_kernel(CsrCudaValuesGradArgs<T, I> args, TurnedCsr<T> turned) {
  const int64_t row = int64_t{blockIdx.x} * kCsrWarps + threadIdx.x / kWarp;
  if (row >= args.shape.n) return;
  const int lane = threadIdx.x % kWarp;
  const T* grad = turned.out + row * turned.stride;
  const CsrRange range = nonzeros_of(args.crow_indices, row, args.shape);
  for (int64_t p = range.begin; p < range.end; ++p) {
    const CsrElement<T> start = checked_element(T(0), args.col_indices[p], args.shape.k);
    const T* x = turned.x + start.column * turned.stride;
    T sum = start.value;
    for (int64_t i = lane; i < turned.stride; i += kWarp) sum += grad[i] * x[i];
    sum = sum_of_warp(sum);
    if (lane == 0) args.grad_values[p] = sum;
  }
}

template <typename T, typename I>
cudaError_t launch_values_grad(const CsrCudaValuesGradArgs<T, I>& args, void* scratch, cudaStream_t stream) {
  const CsrScratch places = CsrScratch::of(args.shape, args.m, sizeof(T));
  char* bytes = static_cast<char*>(scratch);
  const int64_t m = args.m, n = args.shape.n, k = args.shape.k, stride = csr_stride(m, sizeof(T));
  T *x = reinterpret_cast<T*>(bytes + places.x), *grad = reinterpret_cast<T*>(bytes + places.out);
  cudaError_t status = launch_turn(Turning<T>{args.x, x, m, k, k, stride, stride}, stream);
  if (status == cudaSuccess)
    status = launch_turn(Turning<T>{args.grad, grad, m, n, n, stride, stride}, stream);
  if (status != cudaSuccess) return status;
  return launch(csr_values_grad_kernel<T, I>, dim3(unsigned(blocks_for(n, kCsrWarps))), dim3(kCsrThreads), 0,
                stream, args, TurnedCsr<T>{nullptr, x, grad, stride});
}

}  // namespace greenkernels::cuda
