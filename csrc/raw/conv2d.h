// What the convolutions of greenkernels_raw share: their options, and the checks of input, bias, skip and
// activation. Args is the argument struct of a kernel.
#pragma once

#include <algorithm>
#include <iterator>
#include <optional>

#include "api/activation.h"
#include "api/map_layout.h"
#include "raw/arrays.h"

namespace greenkernels::raw {

struct ConvOptions {
  int64_t out_c;
  MapLayout layout;
  Activation activation;
  std::optional<py::array> bias, activation_param, skip;
  double skip_scale;
};

inline MapLayout layout_of(const std::string& name) {
  require(name == "nchw" || name == "nhwc", "layout must be 'nchw' or 'nhwc', got '" + name + "'");
  return name == "nchw" ? MapLayout::kNchw : MapLayout::kNhwc;
}

inline Activation activation_of(const std::optional<std::string>& name) {
  if (!name) return Activation::kNone;
  const auto* found = std::find(std::begin(kActivationNames), std::end(kActivationNames), *name);
  require(found != std::end(kActivationNames), "activation is unknown: '" + *name + "'");
  return static_cast<Activation>(found - std::begin(kActivationNames));
}

inline bool is_double(const py::array& array) { return py::isinstance<py::array_t<double>>(array); }

// How many values the activation takes besides its input must fit what was given.
template <typename T, typename Args>
void set_activation(Args& args, const ConvOptions& options) {
  const bool takes_param =
      options.activation == Activation::kLeakyRelu || options.activation == Activation::kPrelu;
  require(takes_param == options.activation_param.has_value(),
          takes_param ? "activation_param is missing" : "activation_param must be None for this activation");
  args.activation = options.activation;
  if (!takes_param) return;
  args.activation_params = options.activation_param->size();
  const bool per_channel =
      options.activation == Activation::kPrelu && args.activation_params == options.out_c;
  require(args.activation_params == 1 || per_channel,
          "activation_param must have 1 element, or out_channels for prelu");
  args.activation_param = data_of<T>(*options.activation_param, "activation_param");
}

// Sizes and elements of the input; gives its channels.
template <typename T, typename Args>
int64_t set_input(Args& args, const py::array& input, const ConvOptions& options) {
  const std::vector<int64_t> shape = shape_of(input);
  require(shape.size() == 4, "input must have 4 dimensions, got " + shape_text(shape));
  const bool nchw = options.layout == MapLayout::kNchw;
  args.batch = shape[0];
  args.h = nchw ? shape[2] : shape[1];
  args.w = nchw ? shape[3] : shape[2];
  args.input = data_of<T>(input, "input");
  args.input_layout = args.out_layout = options.layout;
  return nchw ? shape[1] : shape[3];
}

template <typename T, typename Args>
void set_packed(Args& args, const py::array& packed, int64_t size, const char* maker) {
  args.packed = data_of<T>(packed, "packed", {size});
  require(reinterpret_cast<uintptr_t>(args.packed) % kAlignment == 0,
          std::string("packed must come from ") + maker);
}

// The other arrays, once all sizes are known; gives the output, not yet computed.
template <typename T, typename Args>
py::array_t<T> set_rest(Args& args, const ConvOptions& options) {
  if (options.bias) args.bias = data_of<T>(*options.bias, "bias", {options.out_c});
  set_activation<T>(args, options);
  const std::vector<int64_t> shape =
      options.layout == MapLayout::kNchw
          ? std::vector<int64_t>{args.batch, options.out_c, args.out_h(), args.out_w()}
          : std::vector<int64_t>{args.batch, args.out_h(), args.out_w(), options.out_c};
  if (options.skip) args.skip = data_of<T>(*options.skip, "skip", shape);
  args.skip_scale = options.skip_scale;
  py::array_t<T> out = empty<T>(shape);
  args.out = out.mutable_data();
  return out;
}

}  // namespace greenkernels::raw
