// Which GPUs the CUDA kernels of this binary are compiled for, for the doctor.
#include <torch/csrc/stable/library.h>

#include <string>

#include "cuda_ops/cuda_call.h"

namespace greenkernels::ops {
namespace {

#ifndef GK_CUDA_ARCHITECTURES
#define GK_CUDA_ARCHITECTURES "the simulator"
#endif

std::string cuda_architectures() { return GK_CUDA_ARCHITECTURES; }

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, CompositeExplicitAutograd, m) {
  m.impl("cuda_architectures", TORCH_BOX(&cuda_architectures));
}

}  // namespace greenkernels::ops
