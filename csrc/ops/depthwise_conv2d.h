// What a call of depthwise_conv2d asks for, and every check of its arguments.
// greenkernels/ops/depthwise_conv2d_checks.py holds the same checks in the same order and words for fake
// tensors and for plain torch; a test compares the two.
#pragma once

#include "api/depthwise_conv2d.h"

#include <vector>

#include "ops/conv2d_checks.h"

namespace greenkernels::ops {

struct DepthwiseCall : ConvCall {
  static constexpr bool kHalfMaps = true;

  const std::vector<int64_t>& kernel_size;
  const std::vector<int64_t>& stride;
  const std::vector<int64_t>& padding;
  const std::vector<int64_t>& dilation;

  DepthwiseFilter filter() const { return {out_channels, kernel_size[0], kernel_size[1]}; }
  MapSizes out_sizes() const {
    MapSizes sizes = {input.size(0), out_channels, 0, 0};
    for (int d = 0; d < 2; ++d) {
      sizes[2 + d] = DepthwiseConv2dArgs<float>::out_size(input.size(2 + d), padding[d], kernel_size[d],
                                                          stride[d], dilation[d]);
    }
    return sizes;
  }
  int64_t packed_size() const { return filter().packed_size(); }

  template <typename T>
  void pack(const T* weight, T* packed) const {
    cpu::depthwise_conv2d_pack(DepthwisePackArgs<T>{weight, packed, filter()});
  }

  // The sizes; run_kernel fills in the rest.
  template <typename T, typename S>
  DepthwiseConv2dArgs<T, S> args() const {
    DepthwiseConv2dArgs<T, S> args{};
    args.filter = filter();
    args.pad_h = padding[0];
    args.pad_w = padding[1];
    args.stride_h = stride[0];
    args.stride_w = stride[1];
    args.dilation_h = dilation[0];
    args.dilation_w = dilation[1];
    return args;
  }

  template <typename T, typename S>
  static void run(const DepthwiseConv2dArgs<T, S>& args) {
    cpu::depthwise_conv2d(args);
  }
};

// Stride, padding, dilation and sizes: as in torch, a map must hold the filter at least once, unless it has
// no rows or columns to begin with.
inline void check_sizes(const DepthwiseCall& call) {
  check_pair(call, "stride", call.stride, 1);
  check_pair(call, "padding", call.padding, 0);
  check_pair(call, "dilation", call.dilation, 1);
  MapSizes padded{}, extent{};
  for (int d = 0; d < 2; ++d) {
    padded[d] = call.input.size(2 + d) + 2 * call.padding[d];
    extent[d] = call.dilation[d] * (call.kernel_size[d] - 1) + 1;
  }
  for (int d = 0; d < 2; ++d) {
    const bool empty = call.input.size(2 + d) == 0 && padded[d] + 1 == extent[d];
    GK_CHECK(padded[d] >= extent[d] || empty, call.op, "input must be at least as large as the filter, ",
             extent[0], " x ", extent[1], ", with its padding, got ", padded[0], " x ", padded[1]);
  }
}

// All of a call but its weight, which is checked before.
inline Activation check_call(const DepthwiseCall& call) {
  check_bias(call);
  check_sizes(call);
  const Activation activation = parse_activation(call);
  check_activation_param(call, activation);
  check_skip(call, call.out_sizes());
  return activation;
}

inline Weight checked_weight(const DepthwiseCall& call, const Tensor& weight) {
  check_input(call.op, call.input);
  check_tensor(call.op, "weight", weight, 4, call.input.scalar_type(), "input", call.input);
  const int64_t channels = call.input.size(1);
  const bool holds = weight.size(0) == channels && weight.size(1) == 1;
  GK_CHECK(holds && weight.size(2) > 0 && weight.size(3) > 0, call.op, "weight must be [", channels,
           ", 1, kernel_h, kernel_w] for input ", ops::shape(call.input), ", got ", ops::shape(weight));
  return {.plain = &weight};
}

inline Weight checked_packed(const DepthwiseCall& call, const Tensor& packed) {
  check_input(call.op, call.input);
  check_pair(call, "kernel_size", call.kernel_size, 1);
  check_packed(call, packed);
  GK_CHECK(packed.numel() == call.packed_size(), call.op, "packed must have ", call.packed_size(),
           " elements for ", call.out_channels, " channels and kernel_size ", shape(call.kernel_size),
           ", got ", packed.numel());
  return {.packed = &packed};
}

inline void check_depthwise_pack(const char* op, const Tensor& weight) {
  GK_CHECK(weight.dim() == 4, op, "weight must be 4-D, got shape ", ops::shape(weight));
  check_float(op, "weight", weight);
  GK_CHECK(weight.size(1) == 1 && weight.size(2) > 0 && weight.size(3) > 0, op,
           "weight must be [channels, 1, kernel_h, kernel_w], got ", ops::shape(weight));
}

}  // namespace greenkernels::ops
