// The torch side of depthwise_conv2d: the ops and their registration.
#include "ops/depthwise_conv2d.h"

#include <torch/csrc/stable/library.h>

#include <type_traits>

#include "ops/conv2d_run.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kConvOp = "depthwise_conv2d";
constexpr const char* kPackOp = "depthwise_conv2d_pack";
constexpr const char* kPackedOp = "depthwise_conv2d_packed";

using Ints = std::vector<int64_t>;
using OptionalString = std::optional<std::string>;

Ints kernel_size_of(const Tensor& input, const Tensor& weight) {
  check_input(kConvOp, input);
  GK_CHECK(weight.dim() == 4, kConvOp, "weight must be 4-D, got shape ", shape(weight));
  return {weight.size(2), weight.size(3)};
}

int64_t channels_of(const char* op, const Tensor& input) {
  check_input(op, input);
  return input.size(1);
}

// Entry points, in the order of the schemas of greenkernels/ops/depthwise_conv2d_op.py.

Tensor depthwise_conv2d_pack(const Tensor& weight) {
  check_depthwise_pack(kPackOp, weight);
  const DepthwiseFilter filter{weight.size(0), weight.size(2), weight.size(3)};
  return pack(kPackOp, weight, filter.packed_size(), [&](auto* plain, auto* packed) {
    using T = std::remove_pointer_t<decltype(packed)>;
    cpu::depthwise_conv2d_pack(DepthwisePackArgs<T>{plain, packed, filter});
  });
}

Tensor depthwise_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                        Ints padding, Ints dilation, const OptionalString& activation,
                        const OptionalTensor& activation_param, const OptionalTensor& skip,
                        double skip_scale) {
  const Ints kernel_size = kernel_size_of(input, weight);
  const DepthwiseCall call{
      {kConvOp, input, bias, input.size(1), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation};
  return convolve(call, checked_weight(call, weight));
}

void depthwise_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                          Ints padding, Ints dilation, const OptionalString& activation,
                          const OptionalTensor& activation_param, const OptionalTensor& skip,
                          double skip_scale, Tensor out) {
  const Ints kernel_size = kernel_size_of(input, weight);
  const DepthwiseCall call{
      {kConvOp, input, bias, input.size(1), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation};
  convolve_out(call, checked_weight(call, weight), out);
}

Tensor depthwise_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                               Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                               const OptionalString& activation, const OptionalTensor& activation_param,
                               const OptionalTensor& skip, double skip_scale) {
  const DepthwiseCall call{
      {kPackedOp, input, bias, channels_of(kPackedOp, input), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation};
  return convolve(call, checked_packed(call, packed));
}

void depthwise_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                                 Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                                 const OptionalString& activation, const OptionalTensor& activation_param,
                                 const OptionalTensor& skip, double skip_scale, Tensor out) {
  const DepthwiseCall call{
      {kPackedOp, input, bias, channels_of(kPackedOp, input), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation};
  convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("depthwise_conv2d_pack", TORCH_BOX(&depthwise_conv2d_pack));
  m.impl("depthwise_conv2d", TORCH_BOX(&depthwise_conv2d));
  m.impl("depthwise_conv2d.out", TORCH_BOX(&depthwise_conv2d_out));
  m.impl("depthwise_conv2d_packed", TORCH_BOX(&depthwise_conv2d_packed));
  m.impl("depthwise_conv2d_packed.out", TORCH_BOX(&depthwise_conv2d_packed_out));
}

}  // namespace greenkernels::ops
