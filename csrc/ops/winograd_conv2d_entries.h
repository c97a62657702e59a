// The entry points of winograd_conv2d, for any device. Device has
//   Tensor convolve(const WinogradCall& call, const Weight& weight);
//   void convolve_out(const WinogradCall& call, const Weight& weight, Tensor out);
//   Tensor pack(const char* op, const Tensor& weight, int64_t size, const Make& make);
// with make(plain, packed) the arguments of the kernel that packs.
#pragma once

#include <type_traits>

#include "ops/winograd_conv2d.h"

namespace greenkernels::ops {

inline constexpr const char* kWinogradConvOp = "winograd_conv2d";
inline constexpr const char* kWinogradPackOp = "winograd_conv2d_pack";
inline constexpr const char* kWinogradPackedOp = "winograd_conv2d_packed";

// In the order of the schemas of greenkernels/ops/winograd_conv2d_op.py.

template <typename Device>
Tensor winograd_conv2d_pack(const Tensor& weight, int64_t tile) {
  check_pack(kWinogradPackOp, weight, tile);
  const int64_t size = winograd_packed_size(weight.size(0), weight.size(1), static_cast<int>(tile));
  return Device::pack(kWinogradPackOp, weight, size, [&](auto* plain, auto* packed) {
    return WinogradPackArgs<std::remove_pointer_t<decltype(packed)>>{plain, packed, weight.size(0),
                                                                     weight.size(1), static_cast<int>(tile)};
  });
}

template <typename Device>
Tensor winograd_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                       std::vector<int64_t> padding, int64_t tile, const OptionalString& activation,
                       const OptionalTensor& activation_param, const OptionalTensor& skip,
                       double skip_scale) {
  GK_CHECK(weight.dim() > 0, kWinogradConvOp, "weight must be 4-D, got shape []");
  const WinogradCall call{
      {kWinogradConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale},
      padding,
      tile};
  return Device::convolve(call, checked_weight(call, weight));
}

template <typename Device>
void winograd_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                         std::vector<int64_t> padding, int64_t tile, const OptionalString& activation,
                         const OptionalTensor& activation_param, const OptionalTensor& skip,
                         double skip_scale, Tensor out) {
  GK_CHECK(weight.dim() > 0, kWinogradConvOp, "weight must be 4-D, got shape []");
  const WinogradCall call{
      {kWinogradConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale},
      padding,
      tile};
  Device::convolve_out(call, checked_weight(call, weight), out);
}

template <typename Device>
Tensor winograd_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                              int64_t out_channels, std::vector<int64_t> padding, int64_t tile,
                              const OptionalString& activation, const OptionalTensor& activation_param,
                              const OptionalTensor& skip, double skip_scale) {
  const WinogradCall call{
      {kWinogradPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale},
      padding,
      tile};
  return Device::convolve(call, checked_packed(call, packed));
}

template <typename Device>
void winograd_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                                int64_t out_channels, std::vector<int64_t> padding, int64_t tile,
                                const OptionalString& activation, const OptionalTensor& activation_param,
                                const OptionalTensor& skip, double skip_scale, Tensor out) {
  const WinogradCall call{
      {kWinogradPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale},
      padding,
      tile};
  Device::convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace greenkernels::ops
