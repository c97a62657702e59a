// What the tests of convolution kernels compare with: activations in double, and maps in either layout.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "api/activation.h"
#include "api/map_layout.h"
#include "check.h"

namespace greenkernels::test {

inline double apply(Activation activation, double v, double slope) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return std::max(v, 0.0);
    case Activation::kRelu6:
      return std::clamp(v, 0.0, 6.0);
    case Activation::kLeakyRelu:
    case Activation::kPrelu:
      return v > 0 ? v : slope * v;
    case Activation::kSilu:
      return v / (1 + std::exp(-v));
    case Activation::kGelu:
      return v / 2 * (1 + std::erf(v / std::sqrt(2.0)));
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-v));
    case Activation::kTanh:
      return std::tanh(v);
    case Activation::kHardswish:
      return v * std::clamp(v + 3, 0.0, 6.0) / 6;
    case Activation::kHardsigmoid:
      return std::clamp(v + 3, 0.0, 6.0) / 6;
  }
  return v;
}

// The elements of an NCHW map in the order of `layout`.
template <typename T>
std::vector<T> in_layout(const std::vector<T>& nchw, MapLayout layout, int64_t channels, int64_t h,
                         int64_t w) {
  std::vector<T> result(nchw.size());
  for (int64_t at = 0; at < int64_t(nchw.size()); ++at) {
    const int64_t x = at % w, y = at / w % h, k = at / (w * h) % channels, n = at / (w * h * channels);
    result[layout == MapLayout::kNchw ? at : ((n * h + y) * w + x) * channels + k] = nchw[at];
  }
  return result;
}

}  // namespace greenkernels::test
