// A call of int8_conv2d and its checks. greenkernels/ops/int8_conv2d_checks.py holds the same checks in the
// same words for fake tensors and for plain torch; tests compare the two.
#pragma once

#include "api/int8_conv2d.h"

#include <optional>
#include <string>
#include <vector>

#include "ops/direct_conv2d.h"
#include "ops/quantized_checks.h"

namespace greenkernels::ops {

// What both variants take beside the filter, named as in the schemas.
struct Int8ConvCall {
  const char* op;
  const Tensor& input;
  const OptionalTensor& input_scale;
  const OptionalTensor& weight_scale;
  const OptionalTensor& input_zero_point;
  const OptionalTensor& bias;
  const std::vector<int64_t>& stride;
  const std::vector<int64_t>& padding;
  const std::vector<int64_t>& dilation;
  int64_t groups;
  const std::optional<std::string>& activation;
  const OptionalTensor& activation_param;
  const OptionalTensor& skip;
  double skip_scale;
  std::optional<double> out_scale;
  int64_t out_zero_point;
  int64_t out_channels = 0;
  std::vector<int64_t> kernel_size = {};

  Like like() const { return {op, "input", input}; }
  Int8Filter filter() const {
    return {out_channels, input.size(1) / groups, kernel_size[0], kernel_size[1], groups};
  }
  Int8Input input_type() const {
    return input.scalar_type() == ScalarType::Byte   ? Int8Input::kUint8
           : input.scalar_type() == ScalarType::Char ? Int8Input::kInt8
                                                     : Int8Input::kFloat;
  }
  bool is_float() const { return input_type() == Int8Input::kFloat; }
  ScalarType out_dtype() const {
    if (!weight_scale) return ScalarType::Int;
    if (out_scale) return ScalarType::Byte;
    return is_float() ? input.scalar_type() : ScalarType::Float;
  }
  // Of what the kernel writes: 16-bit results are converted from float32.
  ScalarType written_dtype() const { return weight_scale && !out_scale ? ScalarType::Float : out_dtype(); }
  // 8-bit maps have channels innermost, as the kernel that reads them next has them.
  MapLayout out_layout() const { return out_scale ? MapLayout::kNhwc : suggested_layout(input); }
  MapSizes out_sizes() const {
    MapSizes sizes = {input.size(0), out_channels, 0, 0};
    for (int d = 0; d < 2; ++d) {
      sizes[2 + d] = DirectConv2dArgs<float>::out_size(input.size(2 + d), padding[d], kernel_size[d],
                                                       stride[d], dilation[d]);
    }
    return sizes;
  }
};

inline void check_int8_input(const char* op, const Tensor& input) {
  GK_CHECK(input.dim() == 4, op, "input must be 4-D, got shape ", ops::shape(input));
  const ScalarType dtype = input.scalar_type();
  GK_CHECK(dtype == ScalarType::Byte || dtype == ScalarType::Char || dtype == ScalarType::Half ||
               dtype == ScalarType::BFloat16 || dtype == ScalarType::Float,
           op, "input must be uint8, int8, float16, bfloat16 or float32, got ", dtype_name(dtype));
}

// The filter as the call gives it, the way the packing op takes it.
inline void check_int8_filter(const char* op, const Tensor& weight, int64_t groups) {
  GK_CHECK(weight.dim() == 4, op, "weight must be 4-D, got shape ", ops::shape(weight));
  GK_CHECK(weight.scalar_type() == ScalarType::Char, op, "weight must be int8, got ",
           dtype_name(weight.scalar_type()));
  GK_CHECK(weight.size(2) > 0 && weight.size(3) > 0, op,
           "weight must be [out_channels, in_channels / groups, kernel_h, kernel_w], got ",
           ops::shape(weight));
  GK_CHECK(groups >= 1 && weight.size(0) % groups == 0, op, "groups must be positive and divide ",
           weight.size(0), " output channels, got ", groups);
  const int64_t depth = weight.size(1) * weight.size(2) * weight.size(3);
  GK_CHECK(depth <= kInt8MaxDepth, op, "products in a sum must be at most ", kInt8MaxDepth, ", got ", depth);
}

// Without weight_scale the sums themselves are wanted, and nothing that would change them.
inline void check_int8_sums(const Int8ConvCall& call) {
  const auto check_absent = [&](const char* name, bool absent) {
    GK_CHECK(absent, call.op, name, " must be None without weight_scale, which asks for the sums, got one");
  };
  GK_CHECK(!call.is_float(), call.op, "input must be uint8 or int8 without weight_scale, got ",
           dtype_name(call.input.scalar_type()));
  check_absent("input_scale", !call.input_scale);
  check_absent("bias", !call.bias);
  check_absent("activation", !call.activation);
  check_absent("skip", !call.skip);
  check_absent("out_scale", !call.out_scale);
  const int64_t depth = call.filter().depth();
  GK_CHECK(depth <= kInt8Slice, call.op, "products in a sum must be at most ", kInt8Slice,
           " for sums in int32 (without weight_scale), got ", depth);
}

inline void check_int8_scales(const Int8ConvCall& call) {
  const int64_t batch = call.input.size(0);
  if (!call.weight_scale) check_int8_sums(call);
  check_vector(call.like(), "input_scale", call.input_scale, true, batch);
  GK_CHECK(!call.weight_scale || call.is_float() || call.input_scale, call.op,
           "input_scale must be a tensor for an integer input, got None");
  check_vector(call.like(), "weight_scale", call.weight_scale, false, call.out_channels);
  GK_CHECK(!call.input_zero_point || !call.is_float() || call.input_scale, call.op,
           "input_zero_point must be None for a float input without input_scale, got one");
  check_vector(call.like(), "input_zero_point", call.input_zero_point, true, batch, ScalarType::Int);
  check_vector(call.like(), "bias", call.bias, false, call.out_channels);
  check_out_quantizer(call.op, call.out_scale, call.out_zero_point);
}

// A map of the shape of the output, to be added to it.
inline void check_skip_map(const Like& like, const OptionalTensor& skip, const MapSizes& expected) {
  if (!skip) return;
  const ScalarType dtype = skip->scalar_type();
  GK_CHECK(dtype == ScalarType::Half || dtype == ScalarType::BFloat16 || dtype == ScalarType::Float, like.op,
           "skip must be float16, bfloat16 or float32, got ", dtype_name(dtype));
  GK_CHECK(skip->is_cpu() == like.tensor.is_cpu(), like.op,
           "skip must be on the device of input, cpu, got another");
  const auto got = skip->sizes();
  GK_CHECK(
      std::vector<int64_t>(got.begin(), got.end()) == std::vector<int64_t>(expected.begin(), expected.end()),
      like.op, "skip must have shape ", shape(expected), ", got ", ops::shape(*skip));
}

// Everything but the filter, of which the sizes are known.
inline Activation check_call(const Int8ConvCall& call) {
  check_int8_scales(call);
  const std::optional<Tensor> none;
  const DirectCall geometry{{call.op, call.input, none, call.out_channels, call.activation,
                             call.activation_param, call.skip, call.skip_scale},
                            call.kernel_size,
                            call.stride,
                            call.padding,
                            call.dilation,
                            call.groups};
  check_sizes(geometry);
  const Activation activation =
      check_activation(call.like(), call.activation, call.activation_param, call.out_channels);
  check_skip_map(call.like(), call.skip, call.out_sizes());
  return activation;
}

}  // namespace greenkernels::ops
