// Activations of api/activation.h on one number. Formulas and NaN behaviour are those of torch.nn.
#pragma once

#include "api/activation.h"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

// In this order a NaN comes through.
template <typename T>
__device__ inline T relu(T v) {
  return v < T(0) ? T(0) : v;
}
template <typename T>
__device__ inline T clamp_0_6(T v) {
  return v > T(6) ? T(6) : relu(v);
}

__device__ inline float exp_of(float v) { return expf(v); }
__device__ inline double exp_of(double v) { return exp(v); }
__device__ inline float erf_of(float v) { return erff(v); }
__device__ inline double erf_of(double v) { return erf(v); }
__device__ inline float tanh_of(float v) { return tanhf(v); }
__device__ inline double tanh_of(double v) { return tanh(v); }

template <typename T>
__device__ inline T sigmoid(T v) {
  return T(1) / (T(1) + exp_of(-v));
}

// act(v); slope is used by leaky_relu and prelu.
template <typename T>
__device__ inline T activate(Activation activation, T v, T slope) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return relu(v);
    case Activation::kRelu6:
      return clamp_0_6(v);
    case Activation::kLeakyRelu:
    case Activation::kPrelu:
      return v > T(0) ? v : slope * v;
    case Activation::kSilu:
      return v * sigmoid(v);
    case Activation::kGelu:
      return T(0.5) * v * (T(1) + erf_of(v * T(0.70710678118654752)));
    case Activation::kSigmoid:
      return sigmoid(v);
    case Activation::kTanh:
      return tanh_of(v);
    case Activation::kHardswish:
      return v * clamp_0_6(v + T(3)) * T(1.0 / 6);
    case Activation::kHardsigmoid:
      return clamp_0_6(v + T(3)) * T(1.0 / 6);
  }
  return v;
}

}  // namespace greenkernels::cuda
