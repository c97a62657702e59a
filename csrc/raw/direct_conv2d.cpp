// direct_conv2d on numpy arrays; formula and limits are those of api/direct_conv2d.h.
#include "api/direct_conv2d.h"

#include <utility>

#include "raw/conv2d.h"
#include "raw/module.h"

namespace greenkernels::raw {
namespace {

using Pair = std::pair<int64_t, int64_t>;

struct Geometry {
  Pair kernel_size, stride, padding, dilation;
  int64_t groups;
};

void check_pair(const char* name, const Pair& pair, int64_t least) {
  require(pair.first >= least && pair.second >= least, std::string(name) + " must be " +
                                                           std::to_string(least) + " or more, got " +
                                                           shape_text({pair.first, pair.second}));
}

void check_groups(int64_t groups, int64_t in_c, int64_t out_c) {
  require(out_c >= 0 && groups >= 1 && in_c % groups == 0 && out_c % groups == 0,
          "groups must be positive and divide " + std::to_string(in_c) + " input and " +
              std::to_string(out_c) + " output channels, got " + std::to_string(groups));
}

template <typename T>
py::array pack(const py::array& weight, int64_t groups) {
  const std::vector<int64_t> shape = shape_of(weight);
  require(
      shape.size() == 4 && shape[2] > 0 && shape[3] > 0,
      "weight must be [out_channels, in_channels / groups, kernel_h, kernel_w], got " + shape_text(shape));
  require(groups >= 1 && shape[0] % groups == 0, "groups must be positive and divide " +
                                                     std::to_string(shape[0]) + " output channels, got " +
                                                     std::to_string(groups));
  const DirectFilter filter{shape[0], shape[1], shape[2], shape[3], groups};
  py::array_t<T> packed = empty<T>({filter.packed_size()});
  const DirectPackArgs<T> args{data_of<T>(weight, "weight"), packed.mutable_data(), filter};
  const py::gil_scoped_release release;
  cpu::direct_conv2d_pack(args);
  return packed;
}

template <typename T>
void set_geometry(DirectConv2dArgs<T>& args, const Geometry& geometry) {
  args.stride_h = geometry.stride.first;
  args.stride_w = geometry.stride.second;
  args.pad_h = geometry.padding.first;
  args.pad_w = geometry.padding.second;
  args.dilation_h = geometry.dilation.first;
  args.dilation_w = geometry.dilation.second;
}

template <typename T>
py::array convolve(const py::array& input, const py::array& packed, const Geometry& geometry,
                   const ConvOptions& options) {
  DirectConv2dArgs<T> args{};
  const int64_t in_c = set_input<T>(args, input, options);
  check_groups(geometry.groups, in_c, options.out_c);
  args.filter = {options.out_c, in_c / geometry.groups, geometry.kernel_size.first,
                 geometry.kernel_size.second, geometry.groups};
  set_geometry(args, geometry);
  require(args.out_h() > 0 && args.out_w() > 0, "padded input is smaller than the filter");
  set_packed<T>(args, packed, args.filter.packed_size(), "direct_conv2d_pack");
  py::array_t<T> out = set_rest<T>(args, options);
  const py::gil_scoped_release release;
  cpu::direct_conv2d(args);
  return out;
}

py::array direct_conv2d_pack(const py::array& weight, int64_t groups) {
  return is_double(weight) ? pack<double>(weight, groups) : pack<float>(weight, groups);
}

py::array direct_conv2d(const py::array& input, const py::array& packed, const std::optional<py::array>& bias,
                        int64_t out_channels, Pair kernel_size, Pair stride, Pair padding, Pair dilation,
                        int64_t groups, const std::optional<std::string>& activation,
                        const std::optional<py::array>& activation_param,
                        const std::optional<py::array>& skip, double skip_scale, const std::string& layout) {
  const Geometry geometry{kernel_size, stride, padding, dilation, groups};
  check_pair("kernel_size", kernel_size, 1);
  check_pair("stride", stride, 1);
  check_pair("padding", padding, 0);
  check_pair("dilation", dilation, 1);
  const ConvOptions options{
      out_channels, layout_of(layout), activation_of(activation), bias, activation_param, skip, skip_scale};
  return is_double(input) ? convolve<double>(input, packed, geometry, options)
                          : convolve<float>(input, packed, geometry, options);
}

const Registration registration([](py::module_& module) {
  using py::literals::operator""_a;
  module.def(
      "direct_conv2d_pack", &direct_conv2d_pack, "weight"_a, "groups"_a = 1,
      "Brings weight [out_channels, in_channels / groups, kernel_h, kernel_w] into the 1-D packed form "
      "of direct_conv2d.");
  module.def("direct_conv2d", &direct_conv2d, "input"_a, "packed"_a, "bias"_a = py::none(), py::kw_only(),
             "out_channels"_a, "kernel_size"_a, "stride"_a = Pair(1, 1), "padding"_a = Pair(0, 0),
             "dilation"_a = Pair(1, 1), "groups"_a = 1, "activation"_a = py::none(),
             "activation_param"_a = py::none(), "skip"_a = py::none(), "skip_scale"_a = 1.0,
             "layout"_a = "nchw",
             "act(conv(input, weight) + bias + skip_scale * skip) with any filter. input and skip are\n"
             "[batch, channels, h, w] with layout 'nchw' and [batch, h, w, channels] with 'nhwc'; so is the "
             "result.\n"
             "float32 and float64; every array must have the dtype of input and be C-contiguous.");
});

}  // namespace
}  // namespace greenkernels::raw
