// A part of a depthwise convolution, for kernels that go through it band by band.
#pragma once

#include "api/depthwise_conv2d.h"

namespace greenkernels::cpu {

// Output rows [begin, end) of a call on one image in channels_last, on this thread; begin is even. Touches
// the input rows under them alone, and these rows of out.
void depthwise_conv2d_rows(const DepthwiseConv2dArgs<float>& args, int64_t begin, int64_t end);

}  // namespace greenkernels::cpu
