// sgemm on CUDA: the translation unit of cuda/sgemm.cuh, cuda/sgemm_plain.cuh and cuda/sgemm_tf32x3.cuh.
#include "cuda/sgemm.cuh"

#include "cuda/sgemm_plain.cuh"
#include "cuda/sgemm_tf32x3.cuh"

namespace greenkernels::cuda {

int64_t sgemm_scratch(const SgemmArgs<float>& args) { return sgemm_scratch_of(args); }

int64_t sgemm_scratch(const SgemmArgs<double>&) { return 0; }

int sgemm(const SgemmArgs<float>& args, float* scratch, void* stream) {
  return launch_sgemm(args, scratch, static_cast<cudaStream_t>(stream));
}

int sgemm(const SgemmArgs<double>& args, double*, void* stream) {
  return launch_sgemm(args, static_cast<cudaStream_t>(stream));
}

int sgemm_tf32x3(const SgemmArgs<float>& args, void* stream) {
  return launch_sgemm_tf32x3(args, static_cast<cudaStream_t>(stream));
}

}  // namespace greenkernels::cuda
