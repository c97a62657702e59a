// What the calls of all convolution ops share, and the checks of it. greenkernels/ops/conv2d_checks.py holds
// the same checks in the same words for fake tensors and for plain torch; tests compare the two.
#pragma once

#include "api/activation.h"
#include "api/half.h"

#include <optional>
#include <string>
#include <vector>

#include "ops/checks.h"
#include "ops/maps.h"

namespace greenkernels::ops {

using Ints = std::vector<int64_t>;
using OptionalString = std::optional<std::string>;
using OptionalTensor = std::optional<Tensor>;

// The arguments that every convolution op has, named as in the schemas.
struct ConvCall {
  // Whether the kernel reads and writes maps of 16-bit numbers; else they are converted to float32 and back.
  static constexpr bool kHalfMaps = false;

  const char* op;
  const Tensor& input;
  const OptionalTensor& bias;
  int64_t out_channels;
  const std::optional<std::string>& activation;
  const OptionalTensor& activation_param;
  const OptionalTensor& skip;
  double skip_scale;

  MapSizes in_sizes() const { return {input.size(0), input.size(1), input.size(2), input.size(3)}; }
  ScalarType compute_dtype() const {
    return input.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  }
};

// The weight as the call gives it: of the two, one is set.
struct Weight {
  const Tensor* plain = nullptr;   // [out_c, in_c of a group, kernel_h, kernel_w]
  const Tensor* packed = nullptr;  // what the op that packs returned
};

inline std::string shape(const MapSizes& sizes) {
  return ops::shape(IntHeaderOnlyArrayRef(sizes.data(), sizes.size()));
}

inline std::string shape(const std::vector<int64_t>& sizes) {
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

// Height and width of the filters, of a weight that nothing was checked of.
inline Ints kernel_size_of(const char* op, const Tensor& input, const Tensor& weight) {
  check_input(op, input);
  GK_CHECK(weight.dim() == 4, op, "weight must be 4-D, got shape ", ops::shape(weight));
  return {weight.size(2), weight.size(3)};
}

inline int64_t channels_of(const char* op, const Tensor& input) {
  check_input(op, input);
  return input.size(1);
}

inline std::string activation_list() {
  std::string names = "None";
  for (const char* name : kActivationNames) {
    if (std::string(name) != "none") names += std::string(", ") + name;
  }
  return names;
}

inline Activation parse_activation(const ConvCall& call) {
  if (!call.activation) return Activation::kNone;
  int index = 0;
  for (const char* name : kActivationNames) {
    if (index > 0 && *call.activation == name) return static_cast<Activation>(index);
    ++index;
  }
  fail(call.op, "activation must be one of ", activation_list(), ", got ", *call.activation);
}

inline void check_activation_param(const ConvCall& call, Activation activation) {
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

inline void check_bias(const ConvCall& call) {
  if (!call.bias) return;
  check_tensor(call.op, "bias", *call.bias, 1, call.input.scalar_type(), "input", call.input);
  GK_CHECK(call.bias->size(0) == call.out_channels, call.op, "bias must have ", call.out_channels,
           " elements, got ", call.bias->size(0));
}

inline void check_skip(const ConvCall& call, const MapSizes& expected) {
  if (!call.skip) return;
  check_tensor(call.op, "skip", *call.skip, 4, call.input.scalar_type(), "input", call.input);
  const Tensor& skip = *call.skip;
  const MapSizes got = {skip.size(0), skip.size(1), skip.size(2), skip.size(3)};
  GK_CHECK(got == expected, call.op, "skip must have shape ", shape(expected), ", got ", shape(got));
}

inline void check_out(const ConvCall& call, const Tensor& out, const MapSizes& expected) {
  check_tensor(call.op, "out", out, 4, call.input.scalar_type(), "input", call.input);
  const MapSizes got = {out.size(0), out.size(1), out.size(2), out.size(3)};
  GK_CHECK(got == expected, call.op, "out must have shape ", shape(expected), ", got ", shape(got));
  for (int d = 0; d < 4; ++d) {
    GK_CHECK(out.stride(d) != 0 || out.size(d) <= 1, call.op,
             "out must not overlap itself, got stride 0 in dimension ", d);
  }
}

// Two integers in [least, 2^31), so that no size overflows.
inline void check_pair(const ConvCall& call, const char* name, const std::vector<int64_t>& pair,
                       int64_t least) {
  const auto fits = [least](int64_t p) { return p >= least && p < (int64_t{1} << 31); };
  GK_CHECK(pair.size() == 2 && fits(pair[0]) && fits(pair[1]), call.op, name, " must be two integers in [",
           least, ", 2^31), got ", shape(pair));
}

// Everything of a packed weight but its number of elements.
inline void check_packed(const ConvCall& call, const Tensor& packed) {
  GK_CHECK(call.out_channels >= 0 && call.out_channels < (int64_t{1} << 31), call.op,
           "out_channels must be in [0, 2^31), got ", call.out_channels);
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), call.op,
           "packed must be 1-D and contiguous, got shape ", ops::shape(packed));
  GK_CHECK(packed.scalar_type() == call.compute_dtype(), call.op, "packed must be ",
           dtype_name(call.compute_dtype()), " for ", dtype_name(call.input.scalar_type()), " input, got ",
           dtype_name(packed.scalar_type()));
  check_device(call.op, "packed", packed, "input", call.input);
}

// Whether a kernel that writes maps of `dtype` may write into `out`, as dense in `layout`, while it reads the
// arguments. skip is the exception: it may be `out` itself.
inline bool may_write_into(const Tensor& out, MapLayout layout, const ConvCall& call, const Weight& weight,
                           ScalarType dtype) {
  if (out.scalar_type() != dtype || !is_dense(out, layout) || overlaps(out, call.input)) return false;
  // A plain weight is packed before anything is written.
  if (weight.packed && overlaps(out, *weight.packed)) return false;
  for (const OptionalTensor* other : {&call.bias, &call.activation_param}) {
    if (*other && overlaps(out, **other)) return false;
  }
  if (!call.skip || !overlaps(out, *call.skip)) return true;
  return call.skip->const_data_ptr() == out.const_data_ptr() && is_dense(*call.skip, layout);
}

}  // namespace greenkernels::ops
