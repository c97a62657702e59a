// Activations of api/activation.h on one float. Formulas and NaN behaviour are those of torch.nn.
#pragma once

#include "api/activation.h"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

// In this order a NaN comes through.
__device__ inline float relu(float v) { return v < 0.0f ? 0.0f : v; }
__device__ inline float clamp_0_6(float v) { return v > 6.0f ? 6.0f : relu(v); }
__device__ inline float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }

// act(v); slope is used by leaky_relu and prelu.
__device__ inline float activate(Activation activation, float v, float slope) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return relu(v);
    case Activation::kRelu6:
      return clamp_0_6(v);
    case Activation::kLeakyRelu:
    case Activation::kPrelu:
      return v > 0.0f ? v : slope * v;
    case Activation::kSilu:
      return v * sigmoid(v);
    case Activation::kGelu:
      return 0.5f * v * (1.0f + erff(v * 0.70710678f));
    case Activation::kSigmoid:
      return sigmoid(v);
    case Activation::kTanh:
      return tanhf(v);
    case Activation::kHardswish:
      return v * clamp_0_6(v + 3.0f) * (1.0f / 6.0f);
    case Activation::kHardsigmoid:
      return clamp_0_6(v + 3.0f) * (1.0f / 6.0f);
  }
  return v;
}

}  // namespace greenkernels::cuda
