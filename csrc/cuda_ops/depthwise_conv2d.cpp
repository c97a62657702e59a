// depthwise_conv2d on CUDA tensors: the ops and their registration.
#include "cuda_ops/conv2d_run.h"
#include "ops/depthwise_conv2d_entries.h"

namespace greenkernels::ops {
namespace {

struct CudaCallOfDepthwise : DepthwiseCall {
  template <typename T>
  int pack_cuda(const T* weight, T* packed, void* stream) const {
    return cuda::depthwise_conv2d_pack(DepthwisePackArgs<T>{weight, packed, filter()}, stream);
  }
  template <typename T>
  DepthwiseConv2dArgs<T> cuda_args() const {
    return args<T, T>();
  }
  template <typename T>
  int64_t scratch(const DepthwiseConv2dArgs<T>&) const {
    return 0;
  }
  template <typename T>
  int run_cuda(const DepthwiseConv2dArgs<T>& args, T*, void* stream) const {
    return cuda::depthwise_conv2d(args, stream);
  }
};

struct OnCuda {
  static Tensor convolve(const DepthwiseCall& call, const Weight& weight) {
    return convolve_cuda(CudaCallOfDepthwise{call}, weight);
  }
  static void convolve_out(const DepthwiseCall& call, const Weight& weight, Tensor out) {
    convolve_cuda_out(CudaCallOfDepthwise{call}, weight, out);
  }
  template <typename Make>
  static Tensor pack(const char* op, const Tensor& weight, int64_t size, const Make& make) {
    return pack_cuda(op, weight, size, [&](auto* plain, auto* packed, void* stream) {
      return cuda::depthwise_conv2d_pack(make(plain, packed), stream);
    });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("depthwise_conv2d_pack", TORCH_BOX(&depthwise_conv2d_pack<OnCuda>));
  m.impl("depthwise_conv2d", TORCH_BOX(&depthwise_conv2d<OnCuda>));
  m.impl("depthwise_conv2d.out", TORCH_BOX(&depthwise_conv2d_out<OnCuda>));
  m.impl("depthwise_conv2d_packed", TORCH_BOX(&depthwise_conv2d_packed<OnCuda>));
  m.impl("depthwise_conv2d_packed.out", TORCH_BOX(&depthwise_conv2d_packed_out<OnCuda>));
}

}  // namespace greenkernels::ops
