// depthwise_conv2d on CUDA: the translation unit of cuda/depthwise_conv2d.cuh.
#include "cuda/depthwise_conv2d.cuh"

namespace greenkernels::cuda {

int depthwise_conv2d_pack(const DepthwisePackArgs<float>& args, void* stream) {
  return launch_depthwise_conv2d_pack(args, static_cast<cudaStream_t>(stream));
}

int depthwise_conv2d_pack(const DepthwisePackArgs<double>& args, void* stream) {
  return launch_depthwise_conv2d_pack(args, static_cast<cudaStream_t>(stream));
}

int depthwise_conv2d(const DepthwiseConv2dArgs<float>& args, void* stream) {
  return launch_depthwise_conv2d(args, static_cast<cudaStream_t>(stream));
}

int depthwise_conv2d(const DepthwiseConv2dArgs<double>& args, void* stream) {
  return launch_depthwise_conv2d(args, static_cast<cudaStream_t>(stream));
}

}  // namespace greenkernels::cuda
