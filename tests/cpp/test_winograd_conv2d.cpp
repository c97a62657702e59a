// winograd_conv2d against a naive convolution in double: ragged sizes, both layouts, every tile and
// instruction set.
#include "api/winograd_conv2d.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>

#include "conv_oracle.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Case {
  int64_t batch, in_c, out_c, h, w, pad_h, pad_w;
};

// Smallest, odd, one more and one less than a tile, a vector and a panel, no padding and more padding than
// map.
const Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1},    {1, 1, 1, 3, 3, 0, 0},     {2, 3, 5, 7, 5, 1, 1},
    {1, 16, 16, 8, 8, 1, 1},  {1, 17, 33, 9, 13, 1, 0},  {3, 15, 31, 5, 6, 2, 3},
    {1, 4, 64, 37, 23, 1, 1}, {1, 33, 48, 14, 14, 1, 1}, {1, 64, 3, 12, 29, 1, 1},
    {2, 8, 40, 2, 2, 5, 4},   {1, 0, 7, 6, 6, 1, 1},     {0, 4, 4, 6, 6, 1, 1},
    {1, 5, 0, 6, 6, 1, 1},    {1, 5, 4, 0, 3, 1, 1},     {1, 2, 2, 2, 7, 0, 0},
    {5, 40, 96, 7, 7, 1, 1},  {1, 96, 80, 30, 61, 1, 1}, {2, 130, 70, 20, 19, 1, 1},
    {1, 512, 65, 7, 7, 1, 1},
};

// Error of float arithmetic relative to the size of the terms: eps * sqrt(terms), amplified by the transforms
// (measured by Lavin and Gray, and for the points used here: 1.7, 4.8 and 17 in the mean; 8 covers the worst
// of many outputs).
template <typename T>
double tolerance(int tile, int64_t in_c) {
  const double amplification = tile == 2 ? 1.7 : tile == 4 ? 4.8 : 17;
  return 8 * amplification * std::numeric_limits<T>::epsilon() * std::sqrt(9.0 * in_c + 2);
}

// The inputs of a case in NCHW order and their plain convolution in double; independent of layout, tile and
// instruction set.
template <typename T>
struct Data {
  std::vector<T> input, weight, bias, skip, param;
  std::vector<double> conv;  // [batch, out_c, out_h, out_w]
};

template <typename T>
Data<T> make_data(const Case& c) {
  const int64_t out_h = c.h + 2 * c.pad_h - 2, out_w = c.w + 2 * c.pad_w - 2,
                outputs = c.batch * c.out_c * out_h * out_w;
  Data<T> data{random_normal<T>(c.batch * c.in_c * c.h * c.w, 1),
               random_normal<T>(c.out_c * c.in_c * 9, 2),
               random_normal<T>(c.out_c, 3),
               random_normal<T>(outputs, 4),
               random_normal<T>(c.out_c + 1, 5),
               {}};
  data.conv.resize(outputs);
  for (int64_t at = 0; at < outputs; ++at) {
    const int64_t x = at % out_w, y = at / out_w % out_h, k = at / (out_w * out_h) % c.out_c,
                  n = at / (out_w * out_h * c.out_c);
    for (int64_t i = 0; i < 9; ++i) {
      const int64_t row = y + i / 3 - c.pad_h, col = x + i % 3 - c.pad_w;
      if (row < 0 || row >= c.h || col < 0 || col >= c.w) continue;
      for (int64_t ch = 0; ch < c.in_c; ++ch) {
        data.conv[at] += double(data.weight[(k * c.in_c + ch) * 9 + i]) *
                         data.input[((n * c.in_c + ch) * c.h + row) * c.w + col];
      }
    }
  }
  return data;
}

struct Setup {
  MapLayout in, out;
  int tile;
  Activation activation;
  bool bias, skip;
  int64_t params;
};

template <typename T>
void check(const Case& c, const Data<T>& data, const Setup& s) {
  const int64_t out_h = c.h + 2 * c.pad_h - 2, out_w = c.w + 2 * c.pad_w - 2,
                outputs = int64_t(data.conv.size());
  const auto input = in_layout(data.input, s.in, c.in_c, c.h, c.w),
             skip = in_layout(data.skip, s.out, c.out_c, out_h, out_w);
  std::vector<T> packed(winograd_packed_size(c.out_c, c.in_c, s.tile));
  std::vector<T> out(outputs + 64, T(77));  // the tail must stay
  cpu::winograd_conv2d_pack(WinogradPackArgs<T>{data.weight.data(), packed.data(), c.out_c, c.in_c, s.tile});
  const double skip_scale = 0.5;
  cpu::winograd_conv2d(WinogradConv2dArgs<T>{
      input.data(), packed.data(), s.bias ? data.bias.data() : nullptr, s.skip ? skip.data() : nullptr,
      out.data(), s.activation, s.params ? data.param.data() : nullptr, s.params, skip_scale, s.in, s.out,
      c.batch, c.in_c, c.out_c, c.h, c.w, c.pad_h, c.pad_w, s.tile});

  std::vector<int64_t> position(outputs);  // in NCHW order, of the elements of out
  std::iota(position.begin(), position.end(), 0);
  position = in_layout(position, s.out, c.out_c, out_h, out_w);
  double worst = 0;
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t at = position[i], k = at / (out_w * out_h) % c.out_c;
    const double slope = s.params ? data.param[s.params == 1 ? 0 : k] : 0;
    const double v = data.conv[at] + (s.bias ? data.bias[k] : 0) + (s.skip ? skip_scale * data.skip[at] : 0);
    const double stretch = std::max(1.1, std::fabs(slope));  // steepest slope of any activation
    const double error = std::fabs(apply(s.activation, v, slope) - out[i]) / stretch;
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  const double bound =
      tolerance<T>(s.tile, c.in_c) * std::sqrt(9.0 * c.in_c + 2);  // terms are products of N(0, 1) values
  GK_EXPECT(worst <= bound,
            "isa %s tile %d layouts %d%d activation %s batch %ld in_c %ld out_c %ld map %ldx%ld: %g > %g",
            cpu::isa_name(cpu::isa()), s.tile, int(s.in), int(s.out), kActivationNames[int(s.activation)],
            long(c.batch), long(c.in_c), long(c.out_c), long(c.h), long(c.w), worst, bound);
  GK_EXPECT(std::all_of(out.end() - 64, out.end(), [](T v) { return v == T(77); }),
            "wrote past the end of out");
}

template <typename T>
void check_layouts_and_tiles(const Case& c) {
  const Data<T> data = make_data<T>(c);
  const auto on_this_level = [&] {
    for (const int tile : {2, 4, 6}) {
      check<T>(c, data, {MapLayout::kNchw, MapLayout::kNchw, tile, Activation::kNone, true, false, 0});
      check<T>(c, data, {MapLayout::kNhwc, MapLayout::kNhwc, tile, Activation::kRelu, true, false, 0});
      check<T>(c, data, {MapLayout::kNhwc, MapLayout::kNchw, tile, Activation::kRelu, false, true, 0});
      check<T>(c, data, {MapLayout::kNchw, MapLayout::kNhwc, tile, Activation::kPrelu, true, true, c.out_c});
    }
  };
  if (std::is_same_v<T, double>) return on_this_level();  // double has one level
  greenkernels::test::for_each_isa([&](cpu::Isa) { on_this_level(); });
}

void check_activations() {
  const Case c{1, 20, 35, 9, 11, 1, 1};
  const auto data = make_data<float>(c);
  for (int i = 0; i <= int(Activation::kHardsigmoid); ++i) {
    const auto activation = Activation(i);
    const bool slope = activation == Activation::kLeakyRelu || activation == Activation::kPrelu;
    check<float>(c, data, {MapLayout::kNhwc, MapLayout::kNhwc, 4, activation, true, true, slope});
    check<float>(c, data, {MapLayout::kNchw, MapLayout::kNchw, 4, activation, true, false, slope});
  }
}

}  // namespace

int main() {
  for (const Case& c : kCases) {
    if (9.0 * double(c.batch * c.in_c * c.out_c * c.h * c.w) > greenkernels::test::most_products()) continue;
    check_layouts_and_tiles<float>(c);
    check_layouts_and_tiles<double>(c);
  }
  greenkernels::test::for_each_isa([](cpu::Isa) { check_activations(); });
  return greenkernels::test::result();
}
