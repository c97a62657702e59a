// A part of a direct convolution, for kernels that go through its output channels piece by piece.
#pragma once

#include "api/direct_conv2d.h"

namespace greenkernels::cpu {

// Panels [begin, end) of the weight of a call on at least one pixel: these channels of all of its output, on
// this thread. Touches no others of out.
void direct_conv2d_panels(const DirectConv2dArgs<float>& args, int64_t begin, int64_t end);

}  // namespace greenkernels::cpu
