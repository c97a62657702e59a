// What the kernels of sgemm share: launches for large batches, and the activations that are rare.
#pragma once

#include "api/sgemm.h"
#include "cuda/activation.cuh"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

// Calls launch_items(args, items) for one run of items of a batch after the other, each as long as the z of a
// grid may be, until it fails.
template <typename T, typename LaunchItems>
cudaError_t launch_batch(SgemmArgs<T> args, const LaunchItems& launch_items) {
  for (int64_t left = args.batch; left > 0; left -= kMostItems) {
    const cudaError_t status = launch_items(args, unsigned(left < kMostItems ? left : kMostItems));
    if (status != cudaSuccess) return status;
    args.a += kMostItems * args.a_batch;
    args.b += kMostItems * args.b_batch;
    args.out += kMostItems * args.out_batch;
  }
  return cudaSuccess;
}

// Applies the activation to element (i, j), which this thread wrote, if it lies within out. Not in registers:
// copies of a switch over all activations for each sum would be most of a kernel, for the sake of the rare
// ones.
__device__ inline void activate_written(const SgemmArgs<float>& args, float* out, int64_t i, int64_t j) {
  if (i >= args.m || j >= args.n) return;
  const float slope =
      args.activation_params ? args.activation_param[args.activation_params > 1 ? j : 0] : 0.0f;
  float& value = out[i * args.out_row + j];
  value = activate(args.activation, value, slope);
}

}  // namespace greenkernels::cuda
