// The entry points of direct_conv2d, for any device. Device has
//   Tensor convolve(const DirectCall& call, const Weight& weight);
//   void convolve_out(const DirectCall& call, const Weight& weight, Tensor out);
//   Tensor pack(const char* op, const Tensor& weight, int64_t size, const Make& make);
// with make(plain, packed) the arguments of the kernel that packs.
#pragma once

#include <type_traits>

#include "ops/direct_conv2d.h"

namespace greenkernels::ops {

inline constexpr const char* kDirectConvOp = "direct_conv2d";
inline constexpr const char* kDirectPackOp = "direct_conv2d_pack";
inline constexpr const char* kDirectPackedOp = "direct_conv2d_packed";

// In the order of the schemas of greenkernels/ops/direct_conv2d_op.py.

template <typename Device>
Tensor direct_conv2d_pack(const Tensor& weight, int64_t groups) {
  check_pack(kDirectPackOp, weight, groups);
  const DirectFilter filter{weight.size(0), weight.size(1), weight.size(2), weight.size(3), groups};
  return Device::pack(kDirectPackOp, weight, filter.packed_size(), [&](auto* plain, auto* packed) {
    return DirectPackArgs<std::remove_pointer_t<decltype(packed)>>{plain, packed, filter};
  });
}

template <typename Device>
Tensor direct_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                     Ints padding, Ints dilation, int64_t groups, const OptionalString& activation,
                     const OptionalTensor& activation_param, const OptionalTensor& skip, double skip_scale) {
  const Ints kernel_size = kernel_size_of(kDirectConvOp, input, weight);
  const DirectCall call{
      {kDirectConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  return Device::convolve(call, checked_weight(call, weight));
}

template <typename Device>
void direct_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                       Ints padding, Ints dilation, int64_t groups, const OptionalString& activation,
                       const OptionalTensor& activation_param, const OptionalTensor& skip, double skip_scale,
                       Tensor out) {
  const Ints kernel_size = kernel_size_of(kDirectConvOp, input, weight);
  const DirectCall call{
      {kDirectConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  Device::convolve_out(call, checked_weight(call, weight), out);
}

template <typename Device>
Tensor direct_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                            int64_t out_channels, Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                            int64_t groups, const OptionalString& activation,
                            const OptionalTensor& activation_param, const OptionalTensor& skip,
                            double skip_scale) {
  const DirectCall call{
      {kDirectPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  return Device::convolve(call, checked_packed(call, packed));
}

template <typename Device>
void direct_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                              int64_t out_channels, Ints kernel_size, Ints stride, Ints padding,
                              Ints dilation, int64_t groups, const OptionalString& activation,
                              const OptionalTensor& activation_param, const OptionalTensor& skip,
                              double skip_scale, Tensor out) {
  const DirectCall call{
      {kDirectPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  Device::convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace greenkernels::ops
