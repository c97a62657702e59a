// int8_gemm on CUDA: the translation unit of cuda/int8_gemm.cuh.
#include "cuda/int8_gemm.cuh"

int greenkernels::cuda::int8_gemm(const Int8CudaGemmArgs& args, void* stream) {
  return launch_int8_gemm(args, static_cast<cudaStream_t>(stream));
}
