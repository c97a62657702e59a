// What a call of winograd_conv2d asks for, and every check of its arguments.
// greenkernels/ops/winograd_conv2d_checks.py holds the same checks in the same order and words for fake
// tensors and for plain torch; a test compares the two.
#pragma once

#include "api/winograd_conv2d.h"

#include <optional>
#include <string>
#include <vector>

#include "ops/checks.h"
#include "ops/maps.h"

namespace greenkernels::ops {

using OptionalTensor = std::optional<Tensor>;

// The arguments that winograd_conv2d and winograd_conv2d_packed share, named as in the schema.
struct Call {
  const char* op;
  const Tensor& input;
  const OptionalTensor& bias;
  int64_t out_channels;
  const std::vector<int64_t>& padding;
  int64_t tile;
  const std::optional<std::string>& activation;
  const OptionalTensor& activation_param;
  const OptionalTensor& skip;
  double skip_scale;

  MapSizes in_sizes() const { return {input.size(0), input.size(1), input.size(2), input.size(3)}; }
  MapSizes out_sizes() const {
    return {input.size(0), out_channels, input.size(2) + 2 * padding[0] - 2,
            input.size(3) + 2 * padding[1] - 2};
  }
  ScalarType compute_dtype() const {
    return input.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  }
};

inline std::string shape(const MapSizes& sizes) {
  return ops::shape(IntHeaderOnlyArrayRef(sizes.data(), sizes.size()));
}

inline void check_float(const char* op, const char* name, const Tensor& tensor) {
  const ScalarType dtype = tensor.scalar_type();
  GK_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double || dtype == ScalarType::Half ||
               dtype == ScalarType::BFloat16,
           op, name, " must be float16, bfloat16, float32 or float64, got ", dtype_name(dtype));
}

inline void check_input(const char* op, const Tensor& input) {
  GK_CHECK(input.dim() == 4, op, "input must be 4-D, got shape ", ops::shape(input));
  check_float(op, "input", input);
}

inline void check_tile(const char* op, int64_t tile) {
  GK_CHECK(tile == 2 || tile == 4 || tile == 6, op, "tile must be 2, 4 or 6, got ", tile);
}

// Padding and sizes: as in torch, a map must hold the filter at least once, unless it has no rows or columns
// to begin with.
inline void check_sizes(const Call& call) {
  const auto& padding = call.padding;
  const auto fits = [](int64_t p) { return p >= 0 && p < (int64_t{1} << 31); };  // so that no size overflows
  GK_CHECK(padding.size() == 2 && fits(padding[0]) && fits(padding[1]), call.op,
           "padding must be two integers in [0, 2^31), got ",
           ops::shape(IntHeaderOnlyArrayRef(padding.data(), padding.size())));
  const MapSizes in = call.in_sizes(), out = call.out_sizes();
  for (const int d : {2, 3}) {
    GK_CHECK(out[d] > 0 || (out[d] == 0 && in[d] == 0), call.op,
             "input must be at least 3 x 3 with its padding, got ", out[2] + 2, " x ", out[3] + 2);
  }
}

inline std::string activation_list() {
  std::string names = "None";
  for (const char* name : kActivationNames) {
    if (std::string(name) != "none") names += std::string(", ") + name;
  }
  return names;
}

inline Activation parse_activation(const Call& call) {
  if (!call.activation) return Activation::kNone;
  int index = 0;
  for (const char* name : kActivationNames) {
    if (index > 0 && *call.activation == name) return static_cast<Activation>(index);
    ++index;
  }
  fail(call.op, "activation must be one of ", activation_list(), ", got ", *call.activation);
}

inline void check_activation_param(const Call& call, Activation activation) {
  const OptionalTensor& param = call.activation_param;
  if (activation != Activation::kLeakyRelu && activation != Activation::kPrelu) {
    GK_CHECK(!param, call.op, "activation_param must be None for ",
             call.activation ? *call.activation : "None", ", got shape ", ops::shape(*param));
    return;
  }
  GK_CHECK(param, call.op, "activation_param must be a tensor for ", *call.activation, ", got None");
  check_tensor(call.op, "activation_param", *param, param->dim(), call.input.scalar_type(), "input",
               call.input);
  if (activation == Activation::kLeakyRelu) {
    GK_CHECK(param->numel() == 1, call.op, "activation_param must have 1 element for leaky_relu, got ",
             param->numel());
  } else {
    GK_CHECK(param->numel() == 1 || param->numel() == call.out_channels, call.op,
             "activation_param must have 1 or ", call.out_channels, " elements for prelu, got ",
             param->numel());
  }
}

// All of a call but its weight, which is checked before.
inline Activation check_call(const Call& call) {
  if (call.bias) {
    check_tensor(call.op, "bias", *call.bias, 1, call.input.scalar_type(), "input", call.input);
    GK_CHECK(call.bias->size(0) == call.out_channels, call.op, "bias must have ", call.out_channels,
             " elements, got ", call.bias->size(0));
  }
  check_sizes(call);
  check_tile(call.op, call.tile);
  const Activation activation = parse_activation(call);
  check_activation_param(call, activation);
  if (call.skip) {
    check_tensor(call.op, "skip", *call.skip, 4, call.input.scalar_type(), "input", call.input);
    const Tensor& skip = *call.skip;
    const MapSizes expected = call.out_sizes(),
                   got = {skip.size(0), skip.size(1), skip.size(2), skip.size(3)};
    GK_CHECK(got == expected, call.op, "skip must have shape ", shape(expected), ", got ", shape(got));
  }
  return activation;
}

// The weight as the call gives it: of the two, one is set.
struct Weight {
  const Tensor* plain = nullptr;   // [out_c, in_c, 3, 3]
  const Tensor* packed = nullptr;  // of winograd_conv2d_pack
};

inline Weight checked_weight(const Call& call, const Tensor& weight) {
  check_input(call.op, call.input);
  check_tensor(call.op, "weight", weight, 4, call.input.scalar_type(), "input", call.input);
  GK_CHECK(weight.size(1) == call.input.size(1) && weight.size(2) == 3 && weight.size(3) == 3, call.op,
           "weight must be [out_channels, ", call.input.size(1), ", 3, 3] for input ", ops::shape(call.input),
           ", got ", ops::shape(weight));
  return {.plain = &weight};
}

inline Weight checked_packed(const Call& call, const Tensor& packed) {
  check_input(call.op, call.input);
  check_tile(call.op, call.tile);
  GK_CHECK(call.out_channels >= 0 && call.out_channels < (int64_t{1} << 31), call.op,
           "out_channels must be in [0, 2^31), got ", call.out_channels);
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), call.op,
           "packed must be 1-D and contiguous, got shape ", ops::shape(packed));
  GK_CHECK(packed.scalar_type() == call.compute_dtype(), call.op, "packed must be ",
           dtype_name(call.compute_dtype()), " for ", dtype_name(call.input.scalar_type()), " input, got ",
           dtype_name(packed.scalar_type()));
  GK_CHECK(packed.is_cpu(), call.op, "packed must be on the device of input, cpu, got another");
  const int64_t expected =
      winograd_packed_size(call.out_channels, call.input.size(1), static_cast<int>(call.tile));
  GK_CHECK(packed.numel() == expected, call.op, "packed must have ", expected, " elements for ",
           call.input.size(1), " -> ", call.out_channels, " channels and tile ", call.tile, ", got ",
           packed.numel());
  return {.packed = &packed};
}

inline void check_pack(const char* op, const Tensor& weight, int64_t tile) {
  GK_CHECK(weight.dim() == 4, op, "weight must be 4-D, got shape ", ops::shape(weight));
  check_float(op, "weight", weight);
  GK_CHECK(weight.size(2) == 3 && weight.size(3) == 3, op,
           "weight must be [out_channels, in_channels, 3, 3], got ", ops::shape(weight));
  check_tile(op, tile);
}

}  // namespace greenkernels::ops
