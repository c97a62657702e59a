// The entry points of depthwise_conv2d, for any device. Device has
//   Tensor convolve(const DepthwiseCall& call, const Weight& weight);
//   void convolve_out(const DepthwiseCall& call, const Weight& weight, Tensor out);
//   Tensor pack(const char* op, const Tensor& weight, int64_t size, const Make& make);
// with make(plain, packed) the arguments of the kernel that packs.
#pragma once

#include <type_traits>

#include "ops/depthwise_conv2d.h"

namespace greenkernels::ops {

inline constexpr const char* kDepthwiseConvOp = "depthwise_conv2d";
inline constexpr const char* kDepthwisePackOp = "depthwise_conv2d_pack";
inline constexpr const char* kDepthwisePackedOp = "depthwise_conv2d_packed";

// In the order of the schemas of greenkernels/ops/depthwise_conv2d_op.py.

template <typename Device>
Tensor depthwise_conv2d_pack(const Tensor& weight) {
  check_depthwise_pack(kDepthwisePackOp, weight);
  const DepthwiseFilter filter{weight.size(0), weight.size(2), weight.size(3)};
  return Device::pack(kDepthwisePackOp, weight, filter.packed_size(), [&](auto* plain, auto* packed) {
    using T = std::remove_pointer_t<decltype(packed)>;
    return DepthwisePackArgs<T>{plain, packed, filter};
  });
}

template <typename Device>
Tensor depthwise_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                        Ints padding, Ints dilation, const OptionalString& activation,
                        const OptionalTensor& activation_param, const OptionalTensor& skip,
                        double skip_scale) {
  const Ints kernel_size = kernel_size_of(kDepthwiseConvOp, input, weight);
  const DepthwiseCall call{
      {kDepthwiseConvOp, input, bias, input.size(1), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation};
  return Device::convolve(call, checked_weight(call, weight));
}

template <typename Device>
void depthwise_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                          Ints padding, Ints dilation, const OptionalString& activation,
                          const OptionalTensor& activation_param, const OptionalTensor& skip,
                          double skip_scale, Tensor out) {
  const Ints kernel_size = kernel_size_of(kDepthwiseConvOp, input, weight);
  const DepthwiseCall call{
      {kDepthwiseConvOp, input, bias, input.size(1), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation};
  Device::convolve_out(call, checked_weight(call, weight), out);
}

template <typename Device>
Tensor depthwise_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                               Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                               const OptionalString& activation, const OptionalTensor& activation_param,
                               const OptionalTensor& skip, double skip_scale) {
  const DepthwiseCall call{{kDepthwisePackedOp, input, bias, channels_of(kDepthwisePackedOp, input),
                            activation, activation_param, skip, skip_scale},
                           kernel_size,
                           stride,
                           padding,
                           dilation};
  return Device::convolve(call, checked_packed(call, packed));
}

template <typename Device>
void depthwise_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                                 Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                                 const OptionalString& activation, const OptionalTensor& activation_param,
                                 const OptionalTensor& skip, double skip_scale, Tensor out) {
  const DepthwiseCall call{{kDepthwisePackedOp, input, bias, channels_of(kDepthwisePackedOp, input),
                            activation, activation_param, skip, skip_scale},
                           kernel_size,
                           stride,
                           padding,
                           dilation};
  Device::convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace greenkernels::ops
