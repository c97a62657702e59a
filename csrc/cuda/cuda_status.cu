// The words of CUDA's own runtime for a status.
#include "api/cuda_status.h"

#include <cuda_runtime.h>

const char* greenkernels::cuda::status_text(int status) {
  return cudaGetErrorString(static_cast<cudaError_t>(status));
}
