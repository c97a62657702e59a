// winograd_conv2d on CUDA: the translation unit of cuda/winograd_conv2d.
#include "cuda/winograd_conv2d/fused.cuh"
#include "cuda/winograd_conv2d/staged.cuh"

namespace greenkernels::cuda {

int winograd_conv2d_pack(const WinogradPackArgs<float>& args, void* stream) {
  return launch_pack(args, static_cast<cudaStream_t>(stream));
}

int winograd_conv2d_pack(const WinogradPackArgs<double>& args, void* stream) {
  return launch_pack(args, static_cast<cudaStream_t>(stream));
}

int64_t winograd_conv2d_scratch(const WinogradConv2dArgs<float>& args) {
  return args.tile == 2 ? 0 : staged_scratch(args);
}

int64_t winograd_conv2d_scratch(const WinogradConv2dArgs<double>& args) { return staged_scratch(args); }

int winograd_conv2d(const WinogradConv2dArgs<float>& args, float* scratch, void* stream) {
  if (args.input_layout != args.out_layout) return cudaErrorInvalidValue;
  const auto into = static_cast<cudaStream_t>(stream);
  return args.tile == 2 ? launch_fused(args, into) : launch_staged(args, scratch, into);
}

int winograd_conv2d(const WinogradConv2dArgs<double>& args, double* scratch, void* stream) {
  if (args.input_layout != args.out_layout) return cudaErrorInvalidValue;
  return launch_staged(args, scratch, static_cast<cudaStream_t>(stream));
}

}  // namespace greenkernels::cuda
