// Device and stream of a call.
#include "cuda_ops/cuda_call.h"

#include <dlfcn.h>

namespace greenkernels::ops {

#ifdef GK_SIMULATED

CudaCall::CudaCall(const char* op, const Tensor&) : op_(op) {}

const Tensor& CudaCall::use(const Tensor& tensor) const {
  int64_t last = 0;  // element that lies farthest
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  if (tensor.numel() > 0) gk_sim_use(tensor.const_data_ptr(), size_t(last + 1) * tensor.element_size());
  used_.push_back(tensor);
  return tensor;
}

#else

namespace {

// torch's current stream of a device. The function is looked up when it is first needed: it is in the library
// of a CUDA build alone, and this binary serves CPU builds too.
void* current_stream(const char* op, int32_t device) {
  using Function = int32_t (*)(int32_t, void**);
  static const auto function = [] {
    void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    void* symbol = library ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr;
    return reinterpret_cast<Function>(symbol);
  }();
  void* stream = nullptr;
  GK_CHECK(function != nullptr && function(device, &stream) == 0, op, "torch has no current CUDA stream");
  return stream;
}

}  // namespace

CudaCall::CudaCall(const char* op, const Tensor& like)
    : op_(op), device_(like.get_device_index()), stream_(current_stream(op, like.get_device_index())) {}

const Tensor& CudaCall::use(const Tensor& tensor) const { return tensor; }

#endif

}  // namespace greenkernels::ops
