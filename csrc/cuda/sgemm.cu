// sgemm on CUDA: the translation unit of cuda/sgemm.cuh, cuda/sgemm_plain.cuh and cuda/sgemm_tf32x3.cuh.
#include "cuda/sgemm.cuh"

#include "cuda/sgemm_plain.cuh"
#include "cuda/sgemm_tf32x3.cuh"

namespace greenkernels::cuda {

int sgemm(const SgemmArgs<float>& args, void* stream) {
  return launch_sgemm(args, static_cast<cudaStream_t>(stream));
}

int sgemm(const SgemmArgs<double>& args, void* stream) {
  return launch_sgemm(args, static_cast<cudaStream_t>(stream));
}

int sgemm_tf32x3(const SgemmArgs<float>& args, void* stream) {
  return launch_sgemm_tf32x3(args, static_cast<cudaStream_t>(stream));
}

}  // namespace greenkernels::cuda
