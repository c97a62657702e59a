// depthwise_conv2d against a naive convolution in double: ragged sizes, every option, both layouts, every
// instruction set.
#include "api/depthwise_conv2d.h"

#include <limits>
#include <numeric>
#include <type_traits>

#include "conv_oracle.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Pair {
  int64_t h, w;
};

struct Case {
  int64_t batch, channels, h, w;
  Pair kernel, pad{0, 0}, stride{1, 1}, dilation{1, 1};

  DepthwiseFilter filter() const { return {channels, kernel.h, kernel.w}; }
};

// Smallest, odd, around the widths of a vector and the columns of a tile, no padding and more padding than
// map, strides that skip rows, filters larger than the map, filters that tiles have not, none at all.
const Case kCases[] = {
    {1, 1, 1, 1, {1, 1}},
    {1, 1, 1, 1, {3, 3}, {1, 1}},
    {2, 3, 5, 7, {3, 3}, {1, 1}},
    {1, 16, 8, 8, {3, 3}, {1, 1}},
    {1, 17, 9, 13, {3, 3}, {1, 0}, {2, 2}},
    {3, 33, 5, 6, {5, 5}, {2, 3}},
    {1, 20, 37, 23, {7, 7}, {3, 3}, {2, 2}},
    {2, 48, 14, 14, {3, 3}, {1, 1}, {2, 2}},
    {2, 33, 13, 15, {5, 3}, {0, 1}, {1, 1}},
    {1, 24, 11, 22, {1, 3}, {0, 1}},
    {1, 24, 11, 22, {2, 3}, {0, 1}, {2, 2}},
    {1, 20, 11, 10, {1, 1}, {1, 2}, {3, 2}},
    {1, 18, 9, 20, {3, 3}, {1, 1}, {1, 3}},
    {1, 32, 15, 14, {3, 3}, {2, 2}, {1, 1}, {2, 2}},
    {2, 6, 12, 13, {2, 4}, {1, 2}, {3, 1}, {2, 3}},
    {1, 5, 9, 2, {1, 5}, {0, 4}},
    {1, 5, 9, 2, {5, 1}, {4, 0}, {1, 1}, {3, 1}},
    {2, 40, 2, 2, {3, 3}, {5, 4}},
    {1, 0, 6, 6, {3, 3}, {1, 1}},
    {0, 4, 6, 6, {3, 3}, {1, 1}},
    {1, 4, 0, 3, {3, 3}, {2, 1}},
    {5, 96, 7, 7, {3, 3}, {1, 1}},
    {1, 700, 4, 9, {3, 3}, {1, 1}},    // several chunks of channels
    {1, 2, 130, 131, {3, 3}, {1, 1}},  // several bands of a plane
};

// The inputs of a case in NCHW order and their plain convolution in double; independent of layout and
// instruction set.
template <typename T>
struct Data {
  std::vector<T> input, weight, bias, skip, param;
  std::vector<double> conv;  // [batch, channels, out_h, out_w]
  int64_t out_h, out_w;
};

template <typename T>
double convolve_at(const Case& c, const Data<T>& data, int64_t map, int64_t y, int64_t x) {
  const int64_t taps = c.filter().taps();
  double sum = 0;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t row = y * c.stride.h + tap / c.kernel.w * c.dilation.h - c.pad.h,
                  col = x * c.stride.w + tap % c.kernel.w * c.dilation.w - c.pad.w;
    if (row < 0 || row >= c.h || col < 0 || col >= c.w) continue;
    sum += double(data.weight[map % c.channels * taps + tap]) * data.input[(map * c.h + row) * c.w + col];
  }
  return sum;
}

template <typename T>
DepthwiseConv2dArgs<T> args_of(const Case& c) {
  DepthwiseConv2dArgs<T> args{};
  args.filter = c.filter();
  args.batch = c.batch, args.h = c.h, args.w = c.w;
  args.pad_h = c.pad.h, args.pad_w = c.pad.w;
  args.stride_h = c.stride.h, args.stride_w = c.stride.w;
  args.dilation_h = c.dilation.h, args.dilation_w = c.dilation.w;
  return args;
}

template <typename T>
Data<T> make_data(const Case& c) {
  const auto args = args_of<T>(c);
  Data<T> data{random_normal<T>(c.batch * c.channels * c.h * c.w, 1),
               random_normal<T>(c.channels * c.filter().taps(), 2),
               random_normal<T>(c.channels, 3),
               {},
               random_normal<T>(c.channels + 1, 5),
               {},
               args.out_h(),
               args.out_w()};
  data.conv.resize(c.batch * c.channels * data.out_h * data.out_w);
  data.skip = random_normal<T>(data.conv.size(), 4);
  for (int64_t at = 0; at < int64_t(data.conv.size()); ++at) {
    const int64_t plane = data.out_h * data.out_w, map = at / plane, pixel = at % plane;
    data.conv[at] = convolve_at(c, data, map, pixel / data.out_w, pixel % data.out_w);
  }
  return data;
}

struct Setup {
  MapLayout in, out;
  Activation activation;
  bool bias, skip;
  int64_t params;
};

// Largest error of `out`, whose elements are in the layout of the setup.
template <typename T>
double worst_error(const Case& c, const Data<T>& data, const Setup& s, double skip_scale,
                   const std::vector<T>& out) {
  std::vector<int64_t> position(data.conv.size());  // in NCHW order, of the elements of out
  std::iota(position.begin(), position.end(), 0);
  position = in_layout(position, s.out, c.channels, data.out_h, data.out_w);
  double worst = 0;
  for (size_t i = 0; i < position.size(); ++i) {
    const int64_t at = position[i], k = at / (data.out_w * data.out_h) % c.channels;
    const double slope = s.params ? data.param[s.params == 1 ? 0 : k] : 0;
    const double v = data.conv[at] + (s.bias ? data.bias[k] : 0) + (s.skip ? skip_scale * data.skip[at] : 0);
    const double stretch = std::max(1.1, std::fabs(slope));  // steepest slope of any activation
    const double error = std::fabs(apply(s.activation, v, slope) - out[i]) / stretch;
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

template <typename T>
void check(const Case& c, const Data<T>& data, const Setup& s) {
  const auto input = in_layout(data.input, s.in, c.channels, c.h, c.w),
             skip = in_layout(data.skip, s.out, c.channels, data.out_h, data.out_w);
  std::vector<T> packed(c.filter().packed_size() + 16);
  T* aligned = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64 / sizeof(T);
  std::vector<T> out(data.conv.size() + 64, T(77));  // the tail must stay
  cpu::depthwise_conv2d_pack(DepthwisePackArgs<T>{data.weight.data(), aligned, c.filter()});
  DepthwiseConv2dArgs<T> args = args_of<T>(c);
  args.input = input.data(), args.packed = aligned, args.out = out.data();
  args.bias = s.bias ? data.bias.data() : nullptr;
  args.skip = s.skip ? skip.data() : nullptr;
  args.activation = s.activation;
  args.activation_param = s.params ? data.param.data() : nullptr;
  args.activation_params = s.params;
  args.skip_scale = 0.5;
  args.input_layout = s.in, args.out_layout = s.out;
  cpu::depthwise_conv2d(args);

  // Terms are products of N(0, 1) values, whose sum has the size sqrt(taps + 2). Rounding errors of its
  // partial sums, each at most eps / 2 of it, add up as their root mean square; 8 covers the worst of many
  // outputs.
  const double terms = double(c.filter().taps() + 2);
  const double bound = 8 * std::numeric_limits<T>::epsilon() * std::sqrt(terms) * std::sqrt(terms);
  const double worst = worst_error(c, data, s, args.skip_scale, out);
  GK_EXPECT(worst <= bound,
            "isa %s layouts %d%d activation %s batch %ld channels %ld map %ldx%ld kernel %ldx%ld pad %ldx%ld "
            "stride %ldx%ld dilation %ldx%ld: error %g > %g",
            cpu::isa_name(cpu::isa()), int(s.in), int(s.out), kActivationNames[int(s.activation)],
            long(c.batch), long(c.channels), long(c.h), long(c.w), long(c.kernel.h), long(c.kernel.w),
            long(c.pad.h), long(c.pad.w), long(c.stride.h), long(c.stride.w), long(c.dilation.h),
            long(c.dilation.w), worst, bound);
  GK_EXPECT(std::all_of(out.end() - 64, out.end(), [](T v) { return v == T(77); }),
            "wrote past the end of out");
}

template <typename T>
void check_layouts(const Case& c) {
  const Data<T> data = make_data<T>(c);
  const auto on_this_level = [&] {
    check<T>(c, data, {MapLayout::kNchw, MapLayout::kNchw, Activation::kNone, true, false, 0});
    check<T>(c, data, {MapLayout::kNhwc, MapLayout::kNhwc, Activation::kRelu, true, false, 0});
    check<T>(c, data, {MapLayout::kNhwc, MapLayout::kNchw, Activation::kRelu, false, true, 0});
    check<T>(c, data, {MapLayout::kNchw, MapLayout::kNhwc, Activation::kPrelu, true, true, c.channels});
    check<T>(c, data, {MapLayout::kNhwc, MapLayout::kNhwc, Activation::kNone, false, false, 0});
  };
  if (std::is_same_v<T, double>) return on_this_level();  // double has one level
  for_each_isa([&](cpu::Isa) { on_this_level(); });
}

void check_activations() {
  const Case c{1, 20, 9, 11, {3, 3}, {1, 1}};
  const auto data = make_data<float>(c);
  for (int i = 0; i <= int(Activation::kHardsigmoid); ++i) {
    const auto activation = Activation(i);
    const bool slope = activation == Activation::kLeakyRelu || activation == Activation::kPrelu;
    check<float>(c, data, {MapLayout::kNhwc, MapLayout::kNhwc, activation, true, true, slope});
    check<float>(c, data, {MapLayout::kNchw, MapLayout::kNchw, activation, true, false, slope});
  }
}

}  // namespace

int main() {
  for (const Case& c : kCases) {
    check_layouts<float>(c);
    check_layouts<double>(c);
  }
  for_each_isa([](cpu::Isa) { check_activations(); });
  return greenkernels::test::result();
}
