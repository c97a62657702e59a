// The activations a kernel can apply to its output while it is still in registers. Formulas are those of
// torch.nn.
#pragma once

#include <cstdint>

namespace greenkernels {

enum class Activation {
  kNone,         // v
  kRelu,         // max(v, 0)
  kRelu6,        // min(max(v, 0), 6)
  kLeakyRelu,    // v > 0 ? v : slope * v, one slope
  kPrelu,        // v > 0 ? v : slope * v, one slope or one a channel
  kSilu,         // v / (1 + exp(-v))
  kGelu,         // v / 2 * (1 + erf(v / sqrt(2)))
  kSigmoid,      // 1 / (1 + exp(-v))
  kTanh,         // tanh(v)
  kHardswish,    // v * min(max(v + 3, 0), 6) / 6
  kHardsigmoid,  // min(max(v + 3, 0), 6) / 6
};

inline constexpr const char* kActivationNames[] = {"none",  "relu",      "relu6",      "leaky_relu",
                                                   "prelu", "silu",      "gelu",       "sigmoid",
                                                   "tanh",  "hardswish", "hardsigmoid"};

}  // namespace greenkernels
