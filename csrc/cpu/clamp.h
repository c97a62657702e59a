// The activations that are min(max(v, low), high), which kernels apply without a branch; none at all has
// infinite bounds.
#pragma once

#include <limits>

#include "api/activation.h"

namespace greenkernels::cpu {

inline bool is_clamp(Activation activation) {
  return activation == Activation::kNone || activation == Activation::kRelu ||
         activation == Activation::kRelu6;
}

template <typename T>
T clamp_low(Activation activation) {
  return activation == Activation::kNone ? -std::numeric_limits<T>::infinity() : T(0);
}

template <typename T>
T clamp_high(Activation activation) {
  return activation == Activation::kRelu6 ? T(6) : std::numeric_limits<T>::infinity();
}

}  // namespace greenkernels::cpu
