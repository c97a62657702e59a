// direct_conv2d on CUDA: the translation unit of cuda/direct_conv2d.cuh.
#include "cuda/direct_conv2d.cuh"

namespace greenkernels::cuda {

int direct_conv2d_pack(const DirectPackArgs<float>& args, void* stream) {
  return launch_direct_conv2d_pack(args, static_cast<cudaStream_t>(stream));
}

int direct_conv2d_pack(const DirectPackArgs<double>& args, void* stream) {
  return launch_direct_conv2d_pack(args, static_cast<cudaStream_t>(stream));
}

int64_t direct_conv2d_scratch(const DirectConv2dArgs<float>& args) { return direct_scratch(args); }

int64_t direct_conv2d_scratch(const DirectConv2dArgs<double>&) { return 0; }

int direct_conv2d(const DirectConv2dArgs<float>& args, float* scratch, void* stream) {
  return launch_direct_conv2d(args, scratch, static_cast<cudaStream_t>(stream));
}

int direct_conv2d(const DirectConv2dArgs<double>& args, double* scratch, void* stream) {
  return launch_direct_conv2d(args, scratch, static_cast<cudaStream_t>(stream));
}

}  // namespace greenkernels::cuda
