// winograd_conv2d on numpy arrays; formula and limits are those of api/winograd_conv2d.h.
#include "api/winograd_conv2d.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "raw/arrays.h"
#include "raw/module.h"

namespace greenkernels::raw {
namespace {

// The arguments that are not arrays, and those that may be absent.
struct Options {
  int64_t out_c;
  std::pair<int64_t, int64_t> padding;
  int tile;
  MapLayout layout;
  Activation activation;
  std::optional<py::array> bias, activation_param, skip;
  double skip_scale;
};

void check_tile(int tile) {
  require(tile == 2 || tile == 4 || tile == 6, "tile must be 2, 4 or 6, got " + std::to_string(tile));
}

MapLayout layout_of(const std::string& name) {
  require(name == "nchw" || name == "nhwc", "layout must be 'nchw' or 'nhwc', got '" + name + "'");
  return name == "nchw" ? MapLayout::kNchw : MapLayout::kNhwc;
}

Activation activation_of(const std::optional<std::string>& name) {
  if (!name) return Activation::kNone;
  const auto* found = std::find(std::begin(kActivationNames), std::end(kActivationNames), *name);
  require(found != std::end(kActivationNames), "activation is unknown: '" + *name + "'");
  return static_cast<Activation>(found - std::begin(kActivationNames));
}

// How many values the activation takes besides its input must fit what was given.
template <typename T>
void set_activation(WinogradConv2dArgs<T>& args, const Options& options) {
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

template <typename T>
py::array pack(const py::array& weight, int tile) {
  const std::vector<int64_t> shape = shape_of(weight);
  require(shape.size() == 4 && shape[2] == 3 && shape[3] == 3,
          "weight must be [out_channels, in_channels, 3, 3], got " + shape_text(shape));
  py::array_t<T> packed = empty<T>({winograd_packed_size(shape[0], shape[1], tile)});
  const WinogradPackArgs<T> args{data_of<T>(weight, "weight"), packed.mutable_data(), shape[0], shape[1],
                                 tile};
  const py::gil_scoped_release release;
  cpu::winograd_conv2d_pack(args);
  return packed;
}

template <typename T>
py::array convolve(const py::array& input, const py::array& packed, const Options& options) {
  const std::vector<int64_t> shape = shape_of(input);
  require(shape.size() == 4, "input must have 4 dimensions, got " + shape_text(shape));
  const bool nchw = options.layout == MapLayout::kNchw;
  WinogradConv2dArgs<T> args{};
  args.batch = shape[0];
  args.in_c = nchw ? shape[1] : shape[3];
  args.h = nchw ? shape[2] : shape[1];
  args.w = nchw ? shape[3] : shape[2];
  args.out_c = options.out_c;
  args.pad_h = options.padding.first;
  args.pad_w = options.padding.second;
  args.tile = options.tile;
  args.skip_scale = options.skip_scale;
  args.input_layout = args.out_layout = options.layout;
  require(args.out_c >= 0 && args.pad_h >= 0 && args.pad_w >= 0,
          "out_channels and padding must not be negative");
  require(args.out_h() >= 0 && args.out_w() >= 0, "padded input is smaller than the 3x3 filter");

  args.input = data_of<T>(input, "input");
  args.packed = data_of<T>(packed, "packed", {winograd_packed_size(args.out_c, args.in_c, args.tile)});
  require(reinterpret_cast<uintptr_t>(args.packed) % kAlignment == 0,
          "packed must come from winograd_conv2d_pack");
  if (options.bias) args.bias = data_of<T>(*options.bias, "bias", {args.out_c});
  set_activation(args, options);
  const std::vector<int64_t> out_shape =
      nchw ? std::vector<int64_t>{args.batch, args.out_c, args.out_h(), args.out_w()}
           : std::vector<int64_t>{args.batch, args.out_h(), args.out_w(), args.out_c};
  if (options.skip) args.skip = data_of<T>(*options.skip, "skip", out_shape);

  py::array_t<T> out = empty<T>(out_shape);
  args.out = out.mutable_data();
  const py::gil_scoped_release release;
  cpu::winograd_conv2d(args);
  return out;
}

bool is_double(const py::array& array) { return py::isinstance<py::array_t<double>>(array); }

py::array winograd_conv2d_pack(const py::array& weight, int tile) {
  check_tile(tile);
  return is_double(weight) ? pack<double>(weight, tile) : pack<float>(weight, tile);
}

py::array winograd_conv2d(const py::array& input, const py::array& packed,
                          const std::optional<py::array>& bias, int64_t out_channels,
                          std::pair<int64_t, int64_t> padding, int tile,
                          const std::optional<std::string>& activation,
                          const std::optional<py::array>& activation_param,
                          const std::optional<py::array>& skip, double skip_scale,
                          const std::string& layout) {
  check_tile(tile);
  const Options options{out_channels, padding,          tile, layout_of(layout), activation_of(activation),
                        bias,         activation_param, skip, skip_scale};
  return is_double(input) ? convolve<double>(input, packed, options)
                          : convolve<float>(input, packed, options);
}

const Registration registration([](py::module_& module) {
  using py::literals::operator""_a;
  module.def(
      "winograd_conv2d_pack", &winograd_conv2d_pack, "weight"_a, "tile"_a = 4,
      "Transforms weight [out_channels, in_channels, 3, 3] into the 1-D packed form of winograd_conv2d.");
  module.def(
      "winograd_conv2d", &winograd_conv2d, "input"_a, "packed"_a, "bias"_a = py::none(), py::kw_only(),
      "out_channels"_a, "padding"_a = std::pair<int64_t, int64_t>(0, 0), "tile"_a = 4,
      "activation"_a = py::none(), "activation_param"_a = py::none(), "skip"_a = py::none(),
      "skip_scale"_a = 1.0, "layout"_a = "nchw",
      "act(conv(input, weight) + bias + skip_scale * skip) with a 3x3 filter, stride 1. input and skip are\n"
      "[batch, channels, h, w] with layout 'nchw' and [batch, h, w, channels] with 'nhwc'; so is the "
      "result.\n"
      "float32 and float64; every array must have the dtype of input and be C-contiguous.");
});

}  // namespace
}  // namespace greenkernels::raw
