// A depthwise convolution between two 1x1 convolutions, of which the first may be missing: the blocks of
// mobile networks. The contract every backend obeys, in channels_last:
//
//   hidden = expand_act(expand_bias + expand * input), or the input itself      [batch, h, w, hidden_c]
//   middle = depthwise_act(depthwise_bias + depthwise convolution of hidden)    [batch, out_h, out_w,
//   hidden_c] out    = act(project_bias + skip_scale * skip + project * middle)           [batch, out_h,
//   out_w, out_c]
//
// with the products of direct_conv2d.h and the convolution of depthwise_conv2d.h, whose exactness holds for
// each step; hidden and middle exist in scratch memory alone, by bands of rows where they are large. Sources:
// Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017
// (without expand); Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
#pragma once

#include <cstdint>

#include "api/activation.h"
#include "api/depthwise_conv2d.h"
#include "api/direct_conv2d.h"

namespace greenkernels {

// A 1x1 convolution and what follows it.
struct PointwiseLayer {
  const float* packed;    // written by direct_conv2d_pack; nullptr: the layer is missing
  const float* bias;      // [channels of its output], or nullptr for none
  Activation activation;  // one without a parameter, as are the other two
};

struct SeparableConv2dArgs {
  const float* input;  // [batch, h, w, in_c]
  const float* skip;   // [batch, out_h, out_w, out_c], or nullptr for none
  float* out;          // [batch, out_h, out_w, out_c]; every element is written; aliases no argument
  PointwiseLayer expand, project;
  const float* depthwise;       // written by depthwise_conv2d_pack
  const float* depthwise_bias;  // [filter.channels], or nullptr for none
  Activation depthwise_activation;
  double skip_scale;
  DepthwiseFilter filter;          // of the hidden channels; without expand these are in_c
  int64_t batch, in_c, out_c;      // all >= 0
  int64_t h, w;                    // all >= 0
  int64_t pad_h, pad_w;            // >= 0
  int64_t stride_h, stride_w;      // >= 1
  int64_t dilation_h, dilation_w;  // >= 1

  int64_t out_h() const {
    return DirectConv2dArgs<float>::out_size(h, pad_h, filter.kernel_h, stride_h, dilation_h);
  }
  int64_t out_w() const {
    return DirectConv2dArgs<float>::out_size(w, pad_w, filter.kernel_w, stride_w, dilation_w);
  }
  DirectFilter expand_filter() const { return {filter.channels, in_c, 1, 1, 1}; }
  DirectFilter project_filter() const { return {out_c, filter.channels, 1, 1, 1}; }
};

namespace cpu {
// Runs on the intra-op threads with the widest instruction set of this CPU.
void separable_conv2d(const SeparableConv2dArgs& args);
}  // namespace cpu

}  // namespace greenkernels
