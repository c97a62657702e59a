// sgemm on CUDA: the translation unit of cuda/sgemm.cuh and cuda/sgemm_plain.cuh.
#include "cuda/sgemm.cuh"

#include "cuda/sgemm_plain.cuh"

int greenkernels::cuda::sgemm(const SgemmArgs<float>& args, void* stream) {
  return launch_sgemm(args, static_cast<cudaStream_t>(stream));
}

int greenkernels::cuda::sgemm(const SgemmArgs<double>& args, void* stream) {
  return launch_sgemm(args, static_cast<cudaStream_t>(stream));
}
