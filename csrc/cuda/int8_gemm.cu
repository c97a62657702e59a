// int8_gemm on CUDA: the translation unit of cuda/int8_gemm.cuh and cuda/int8_quantize.cuh.
#include "cuda/int8_gemm.cuh"

#include "cuda/int8_quantize.cuh"

namespace greenkernels::cuda {

int64_t int8_gemm_scratch(const Int8CudaGemmArgs& args) { return int8_scratch_of(args); }

int int8_gemm(const Int8CudaGemmArgs& args, int32_t* scratch, void* stream) {
  return launch_int8_gemm(args, scratch, static_cast<cudaStream_t>(stream));
}

int int8_quantize(const Int8QuantizeArgs& args, void* stream) {
  return launch_rows(int8_quantize_kernel, args.m, static_cast<cudaStream_t>(stream), args);
}

int int8_requantize(const Int8RequantizeArgs& args, void* stream) {
  const int64_t blocks = blocks_for(args.size, kRowThreads);
  return launch_rows(int8_requantize_kernel, blocks, static_cast<cudaStream_t>(stream), args);
}

int int8_row_sums(const Int8RowSumsArgs& args, void* stream) {
  return launch_rows(int8_row_sums_kernel, args.n, static_cast<cudaStream_t>(stream), args);
}

}  // namespace greenkernels::cuda
