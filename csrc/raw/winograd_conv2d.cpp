// winograd_conv2d on numpy arrays; formula and limits are those of api/winograd_conv2d.h.
#include "api/winograd_conv2d.h"

#include <utility>

#include "raw/conv2d.h"
#include "raw/module.h"

namespace greenkernels::raw {
namespace {

void check_tile(int tile) {
  require(tile == 2 || tile == 4 || tile == 6, "tile must be 2, 4 or 6, got " + std::to_string(tile));
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
py::array convolve(const py::array& input, const py::array& packed, std::pair<int64_t, int64_t> padding,
                   int tile, const ConvOptions& options) {
  WinogradConv2dArgs<T> args{};
  args.in_c = set_input<T>(args, input, options);
  args.out_c = options.out_c;
  args.pad_h = padding.first;
  args.pad_w = padding.second;
  args.tile = tile;
  require(args.out_c >= 0 && args.pad_h >= 0 && args.pad_w >= 0,
          "out_channels and padding must not be negative");
  require(args.out_h() >= 0 && args.out_w() >= 0, "padded input is smaller than the 3x3 filter");
  set_packed<T>(args, packed, winograd_packed_size(args.out_c, args.in_c, tile), "winograd_conv2d_pack");
  py::array_t<T> out = set_rest<T>(args, options);
  const py::gil_scoped_release release;
  cpu::winograd_conv2d(args);
  return out;
}

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
  const ConvOptions options{
      out_channels, layout_of(layout), activation_of(activation), bias, activation_param, skip, skip_scale};
  return is_double(input) ? convolve<double>(input, packed, padding, tile, options)
                          : convolve<float>(input, packed, padding, tile, options);
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
