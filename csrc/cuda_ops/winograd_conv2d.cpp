// winograd_conv2d on CUDA tensors: the ops and their registration.
#include "cuda_ops/conv2d_run.h"
#include "ops/winograd_conv2d_entries.h"

namespace greenkernels::ops {
namespace {

struct CudaCallOfWinograd : WinogradCall {
  template <typename T>
  int pack_cuda(const T* weight, T* packed, void* stream) const {
    return cuda::winograd_conv2d_pack(
        WinogradPackArgs<T>{weight, packed, out_channels, input.size(1), static_cast<int>(tile)}, stream);
  }
  template <typename T>
  WinogradConv2dArgs<T> cuda_args() const {
    return args<T, T>();
  }
  template <typename T>
  int64_t scratch(const WinogradConv2dArgs<T>& args) const {
    return cuda::winograd_conv2d_scratch(args);
  }
  template <typename T>
  int run_cuda(const WinogradConv2dArgs<T>& args, T* scratch, void* stream) const {
    return cuda::winograd_conv2d(args, scratch, stream);
  }
};

struct OnCuda {
  static Tensor convolve(const WinogradCall& call, const Weight& weight) {
    return convolve_cuda(CudaCallOfWinograd{call}, weight);
  }
  static void convolve_out(const WinogradCall& call, const Weight& weight, Tensor out) {
    convolve_cuda_out(CudaCallOfWinograd{call}, weight, out);
  }
  template <typename Make>
  static Tensor pack(const char* op, const Tensor& weight, int64_t size, const Make& make) {
    return pack_cuda(op, weight, size, [&](auto* plain, auto* packed, void* stream) {
      return cuda::winograd_conv2d_pack(make(plain, packed), stream);
    });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("winograd_conv2d_pack", TORCH_BOX(&winograd_conv2d_pack<OnCuda>));
  m.impl("winograd_conv2d", TORCH_BOX(&winograd_conv2d<OnCuda>));
  m.impl("winograd_conv2d.out", TORCH_BOX(&winograd_conv2d_out<OnCuda>));
  m.impl("winograd_conv2d_packed", TORCH_BOX(&winograd_conv2d_packed<OnCuda>));
  m.impl("winograd_conv2d_packed.out", TORCH_BOX(&winograd_conv2d_packed_out<OnCuda>));
}

}  // namespace greenkernels::ops
