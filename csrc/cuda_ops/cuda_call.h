// Where an op on CUDA runs: the device of its tensors and torch's current stream there. Nothing here or in
// the launchers waits for the device, and memory comes from torch, so that CUDA graphs can capture a call.
//
// With GK_SIMULATED the same ops are registered for CPU tensors, in a library of their own, and the simulator
// is told what memory they have (greenkernels/ptxsim/device.py).
#pragma once

#include "api/cuda_status.h"

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>

#include <optional>
#include <vector>

#include "ops/checks.h"

#ifdef GK_SIMULATED
#define GK_CUDA_LIBRARY greenkernels_simulated
#define GK_CUDA_KEY CPU
extern "C" void gk_sim_use(const void* data, size_t bytes);
#else
#define GK_CUDA_LIBRARY greenkernels
#define GK_CUDA_KEY CUDA
#endif

namespace greenkernels::ops {

class CudaCall {
 public:
  // On the device of `like`, which stays the current one as long as this object lives.
  CudaCall(const char* op, const Tensor& like);

  // A tensor whose memory the kernels of this call may touch.
  const Tensor& use(const Tensor& tensor) const;
  void use(const std::optional<Tensor>& tensor) const {
    if (tensor) use(*tensor);
  }

  const char* op() const { return op_; }
  void* stream() const { return stream_; }

  // Raises what a launcher's status says.
  void check(int status) const {
    GK_CHECK(status == 0, op_, "CUDA says ", cuda::status_text(status), " (status ", status, ")");
  }

 private:
  const char* op_;
#ifdef GK_SIMULATED
  mutable std::vector<Tensor> used_;  // alive until the last launch, which copies all of them
#else
  torch::stable::accelerator::DeviceGuard device_;
#endif
  void* stream_ = nullptr;
};

// Memory of `count` elements of T on the device of `like`, that kernels of this call may touch.
template <typename T>
Tensor cuda_memory(const char* op, const char* what, int64_t count, const Tensor& like,
                   const CudaCall& device) {
  const ScalarType dtype = sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float;
  return device.use(allocate(op, what, double(count) * sizeof(T),
                             [&] { return torch::stable::new_empty(like, {count}, dtype); }));
}

}  // namespace greenkernels::ops
