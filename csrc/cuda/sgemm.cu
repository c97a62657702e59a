// sgemm on CUDA: the translation unit of cuda/sgemm.cuh.
#include "cuda/sgemm.cuh"

int greenkernels::cuda::sgemm(const SgemmArgs<float>& args, void* stream) {
  return launch_sgemm(args, static_cast<cudaStream_t>(stream));
}
