// The torch side of direct_conv2d: the ops and their registration.
#include "ops/direct_conv2d.h"

#include <torch/csrc/stable/library.h>

#include <type_traits>

#include "ops/conv2d_run.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kConvOp = "direct_conv2d";
constexpr const char* kPackOp = "direct_conv2d_pack";
constexpr const char* kPackedOp = "direct_conv2d_packed";

using Ints = std::vector<int64_t>;
using OptionalString = std::optional<std::string>;

Ints kernel_size_of(const Tensor& input, const Tensor& weight) {
  check_input(kConvOp, input);
  GK_CHECK(weight.dim() == 4, kConvOp, "weight must be 4-D, got shape ", shape(weight));
  return {weight.size(2), weight.size(3)};
}

// Entry points, in the order of the schemas of greenkernels/ops/direct_conv2d_op.py.

Tensor direct_conv2d_pack(const Tensor& weight, int64_t groups) {
  check_pack(kPackOp, weight, groups);
  const DirectFilter filter{weight.size(0), weight.size(1), weight.size(2), weight.size(3), groups};
  return pack(kPackOp, weight, filter.packed_size(), [&](auto* plain, auto* packed) {
    cpu::direct_conv2d_pack(DirectPackArgs<std::remove_pointer_t<decltype(packed)>>{plain, packed, filter});
  });
}

Tensor direct_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                     Ints padding, Ints dilation, int64_t groups, const OptionalString& activation,
                     const OptionalTensor& activation_param, const OptionalTensor& skip, double skip_scale) {
  const Ints kernel_size = kernel_size_of(input, weight);
  const DirectCall call{
      {kConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  return convolve(call, checked_weight(call, weight));
}

void direct_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, Ints stride,
                       Ints padding, Ints dilation, int64_t groups, const OptionalString& activation,
                       const OptionalTensor& activation_param, const OptionalTensor& skip, double skip_scale,
                       Tensor out) {
  const Ints kernel_size = kernel_size_of(input, weight);
  const DirectCall call{
      {kConvOp, input, bias, weight.size(0), activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  convolve_out(call, checked_weight(call, weight), out);
}

Tensor direct_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                            int64_t out_channels, Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                            int64_t groups, const OptionalString& activation,
                            const OptionalTensor& activation_param, const OptionalTensor& skip,
                            double skip_scale) {
  const DirectCall call{
      {kPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  return convolve(call, checked_packed(call, packed));
}

void direct_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                              int64_t out_channels, Ints kernel_size, Ints stride, Ints padding,
                              Ints dilation, int64_t groups, const OptionalString& activation,
                              const OptionalTensor& activation_param, const OptionalTensor& skip,
                              double skip_scale, Tensor out) {
  const DirectCall call{
      {kPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale},
      kernel_size,
      stride,
      padding,
      dilation,
      groups};
  convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("direct_conv2d_pack", TORCH_BOX(&direct_conv2d_pack));
  m.impl("direct_conv2d", TORCH_BOX(&direct_conv2d));
  m.impl("direct_conv2d.out", TORCH_BOX(&direct_conv2d_out));
  m.impl("direct_conv2d_packed", TORCH_BOX(&direct_conv2d_packed));
  m.impl("direct_conv2d_packed.out", TORCH_BOX(&direct_conv2d_packed_out));
}

}  // namespace greenkernels::ops
