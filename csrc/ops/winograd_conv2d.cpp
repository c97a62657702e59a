// The torch side of winograd_conv2d: the ops and their registration.
#include "ops/winograd_conv2d.h"

#include <torch/csrc/stable/library.h>

#include <type_traits>

#include "ops/conv2d_run.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kConvOp = "winograd_conv2d";
constexpr const char* kPackOp = "winograd_conv2d_pack";
constexpr const char* kPackedOp = "winograd_conv2d_packed";

// Entry points, in the order of the schemas of greenkernels/ops/winograd_conv2d_op.py.

Tensor winograd_conv2d_pack(const Tensor& weight, int64_t tile) {
  check_pack(kPackOp, weight, tile);
  const int64_t size = winograd_packed_size(weight.size(0), weight.size(1), static_cast<int>(tile));
  return pack(kPackOp, weight, size, [&](auto* plain, auto* packed) {
    cpu::winograd_conv2d_pack(WinogradPackArgs<std::remove_pointer_t<decltype(packed)>>{
        plain, packed, weight.size(0), weight.size(1), static_cast<int>(tile)});
  });
}

Tensor winograd_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                       std::vector<int64_t> padding, int64_t tile,
                       const std::optional<std::string>& activation, const OptionalTensor& activation_param,
                       const OptionalTensor& skip, double skip_scale) {
  GK_CHECK(weight.dim() > 0, kConvOp, "weight must be 4-D, got shape []");
  const WinogradCall call{
      {kConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale}, padding, tile};
  return convolve(call, checked_weight(call, weight));
}

void winograd_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                         std::vector<int64_t> padding, int64_t tile,
                         const std::optional<std::string>& activation, const OptionalTensor& activation_param,
                         const OptionalTensor& skip, double skip_scale, Tensor out) {
  GK_CHECK(weight.dim() > 0, kConvOp, "weight must be 4-D, got shape []");
  const WinogradCall call{
      {kConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale}, padding, tile};
  convolve_out(call, checked_weight(call, weight), out);
}

Tensor winograd_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                              int64_t out_channels, std::vector<int64_t> padding, int64_t tile,
                              const std::optional<std::string>& activation,
                              const OptionalTensor& activation_param, const OptionalTensor& skip,
                              double skip_scale) {
  const WinogradCall call{
      {kPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale}, padding, tile};
  return convolve(call, checked_packed(call, packed));
}

void winograd_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                                int64_t out_channels, std::vector<int64_t> padding, int64_t tile,
                                const std::optional<std::string>& activation,
                                const OptionalTensor& activation_param, const OptionalTensor& skip,
                                double skip_scale, Tensor out) {
  const WinogradCall call{
      {kPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale}, padding, tile};
  convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("winograd_conv2d_pack", TORCH_BOX(&winograd_conv2d_pack));
  m.impl("winograd_conv2d", TORCH_BOX(&winograd_conv2d));
  m.impl("winograd_conv2d.out", TORCH_BOX(&winograd_conv2d_out));
  m.impl("winograd_conv2d_packed", TORCH_BOX(&winograd_conv2d_packed));
  m.impl("winograd_conv2d_packed.out", TORCH_BOX(&winograd_conv2d_packed_out));
}

}  // namespace greenkernels::ops
