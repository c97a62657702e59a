// direct_conv2d on CUDA tensors: the ops and their registration.
#include "cuda_ops/conv2d_run.h"
#include "ops/direct_conv2d_entries.h"

namespace greenkernels::ops {
namespace {

struct CudaCallOfDirect : DirectCall {
  template <typename T>
  int pack_cuda(const T* weight, T* packed, void* stream) const {
    return cuda::direct_conv2d_pack(DirectPackArgs<T>{weight, packed, filter()}, stream);
  }
  template <typename T>
  DirectConv2dArgs<T> cuda_args() const {
    return args<T>();
  }
  template <typename T>
  int64_t scratch(const DirectConv2dArgs<T>& args) const {
    return cuda::direct_conv2d_scratch(args);
  }
  template <typename T>
  int run_cuda(const DirectConv2dArgs<T>& args, T* scratch, void* stream) const {
    return cuda::direct_conv2d(args, scratch, stream);
  }
};

struct OnCuda {
  static Tensor convolve(const DirectCall& call, const Weight& weight) {
    return convolve_cuda(CudaCallOfDirect{call}, weight);
  }
  static void convolve_out(const DirectCall& call, const Weight& weight, Tensor out) {
    convolve_cuda_out(CudaCallOfDirect{call}, weight, out);
  }
  template <typename Make>
  static Tensor pack(const char* op, const Tensor& weight, int64_t size, const Make& make) {
    return pack_cuda(op, weight, size, [&](auto* plain, auto* packed, void* stream) {
      return cuda::direct_conv2d_pack(make(plain, packed), stream);
    });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("direct_conv2d_pack", TORCH_BOX(&direct_conv2d_pack<OnCuda>));
  m.impl("direct_conv2d", TORCH_BOX(&direct_conv2d<OnCuda>));
  m.impl("direct_conv2d.out", TORCH_BOX(&direct_conv2d_out<OnCuda>));
  m.impl("direct_conv2d_packed", TORCH_BOX(&direct_conv2d_packed<OnCuda>));
  m.impl("direct_conv2d_packed.out", TORCH_BOX(&direct_conv2d_packed_out<OnCuda>));
}

}  // namespace greenkernels::ops
