// Parts of a depthwise convolution, for kernels that go through it band by band or chunk by chunk.
#pragma once

#include "api/depthwise_conv2d.h"

namespace greenkernels::cpu {

// Output rows [begin, end) of a call on one image in channels_last, on this thread; begin is even. Touches
// the input rows under them alone, and these rows of out.
void depthwise_conv2d_rows(const DepthwiseConv2dArgs<float>& args, int64_t begin, int64_t end);

// Channels [index * chunk, (index + 1) * chunk) of a call in channels_last, as far as there are any, on this
// thread; chunk is a multiple of kDepthwiseLanes. Touches no other channels of input and out.
void depthwise_conv2d_chunk(const DepthwiseConv2dArgs<float>& args, int64_t chunk, int64_t index);

}  // namespace greenkernels::cpu
