// The gradients of winograd_conv2d against their sums in double: ragged sizes, both layouts of both maps,
// every tile and instruction set, one and more threads.
#include "api/winograd_conv2d.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "check.h"
#include "raw/parallel.h"

namespace {

using namespace greenkernels;
using greenkernels::test::random_normal;

struct Case {
  int64_t batch, in_c, out_c, h, w, pad_h, pad_w;

  int64_t out_h() const { return h + 2 * pad_h - 2; }
  int64_t out_w() const { return w + 2 * pad_w - 2; }
};

// Smallest, odd, one more and one less than a tile, a vector and a panel; no padding and more padding than
// map; sums that fit in half of an L2 cache and sums that do not, with one chunk of tiles (some panels at a
// time, too) and more.
const Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1},      {1, 1, 1, 3, 3, 0, 0},       {2, 3, 5, 7, 5, 1, 1},
    {1, 16, 16, 8, 8, 1, 1},    {1, 17, 33, 9, 13, 1, 0},    {3, 15, 31, 5, 6, 2, 3},
    {1, 4, 64, 37, 23, 1, 1},   {1, 33, 48, 14, 14, 1, 1},   {1, 64, 3, 12, 29, 1, 1},
    {2, 8, 40, 2, 2, 5, 4},     {0, 4, 4, 6, 6, 1, 1},       {1, 5, 0, 6, 6, 1, 1},
    {1, 0, 7, 6, 6, 1, 1},      {1, 5, 4, 0, 3, 1, 1},       {1, 2, 2, 2, 7, 0, 0},
    {5, 40, 96, 7, 7, 1, 1},    {3, 130, 170, 20, 19, 1, 1}, {1, 512, 65, 7, 7, 1, 1},
    {6, 97, 129, 15, 14, 1, 1}, {1900, 81, 81, 1, 2, 1, 1},
};

// The two maps of a case in NCHW order and the gradient of the weight in double.
template <typename T>
struct Data {
  std::vector<T> input, grad;
  std::vector<double> weight_grad;  // [out_c, in_c, 3, 3]
};

template <typename T>
Data<T> make_data(const Case& c) {
  const int64_t out_h = c.out_h(), out_w = c.out_w();
  Data<T> data{random_normal<T>(c.batch * c.in_c * c.h * c.w, 1),
               random_normal<T>(c.batch * c.out_c * out_h * out_w, 2),
               std::vector<double>(c.out_c * c.in_c * 9)};
  for (int64_t at = 0; at < int64_t(data.weight_grad.size()); ++at) {
    const int64_t i = at % 9 / 3, j = at % 3, ch = at / 9 % c.in_c, k = at / 9 / c.in_c;
    const int64_t begin = std::max<int64_t>(0, c.pad_w - j), end = std::min(out_w, c.w + c.pad_w - j);
    double sum = 0;
    for (int64_t n = 0; n < c.batch; ++n) {
      for (int64_t y = 0; y < out_h; ++y) {
        const int64_t row = y + i - c.pad_h;
        if (row < 0 || row >= c.h) continue;
        const T* grad = data.grad.data() + ((n * c.out_c + k) * out_h + y) * out_w;
        const T* input = data.input.data() + ((n * c.in_c + ch) * c.h + row) * c.w + j - c.pad_w;
        for (int64_t x = begin; x < end; ++x) sum += double(grad[x]) * input[x];
      }
    }
    data.weight_grad[at] = sum;
  }
  return data;
}

template <typename T>
std::vector<T> in_layout(const std::vector<T>& nchw, MapLayout layout, int64_t channels, int64_t h,
                         int64_t w) {
  std::vector<T> result(nchw.size());
  for (int64_t at = 0; at < int64_t(nchw.size()); ++at) {
    const int64_t x = at % w, y = at / w % h, k = at / (w * h) % channels, n = at / (w * h * channels);
    result[layout == MapLayout::kNchw ? at : ((n * h + y) * w + x) * channels + k] = nchw[at];
  }
  return result;
}

// Error of float arithmetic: eps * sqrt(terms) * size of a sum of `terms` products of N(0, 1) values,
// amplified by the transforms (2.0 and 7.2 for the worst element of a filter; 4 standard deviations cover the
// worst of many).
template <typename T>
double tolerance(int tile, const Case& c) {
  const double terms = double(c.batch * c.out_h() * c.out_w()) + 20;
  return 4 * (tile == 2 ? 2.0 : 7.2) * std::numeric_limits<T>::epsilon() * terms;
}

template <typename T>
void check_weight_grad(const Case& c, const Data<T>& data, MapLayout in, MapLayout out, int tile) {
  const auto input = in_layout(data.input, in, c.in_c, c.h, c.w),
             grad = in_layout(data.grad, out, c.out_c, c.out_h(), c.out_w());
  const int64_t size = int64_t(data.weight_grad.size());
  std::vector<T> result(size + 64, T(77)), again(size, T(5));  // the tail must stay
  WinogradWeightGradArgs<T> args{input.data(), grad.data(), result.data(), in,      out,     c.batch, c.in_c,
                                 c.out_c,      c.h,         c.w,           c.pad_h, c.pad_w, tile};
  cpu::winograd_conv2d_weight_grad(args);
  args.grad_weight = again.data();
  cpu::winograd_conv2d_weight_grad(args);
  GK_EXPECT(std::equal(again.begin(), again.end(), result.begin()), "two runs differ");
  double worst = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double error = std::fabs(result[i] - data.weight_grad[i]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  const double bound = tolerance<T>(tile, c);
  GK_EXPECT(worst <= bound, "isa %s tile %d layouts %d%d batch %ld in_c %ld out_c %ld map %ldx%ld: %g > %g",
            cpu::isa_name(cpu::isa()), tile, int(in), int(out), long(c.batch), long(c.in_c), long(c.out_c),
            long(c.h), long(c.w), worst, bound);
  GK_EXPECT(std::all_of(result.end() - 64, result.end(), [](T v) { return v == T(77); }),
            "wrote past the end of grad_weight");
}

template <typename T>
void check_layouts_and_tiles(const Case& c) {
  const Data<T> data = make_data<T>(c);
  const auto on_this_level = [&] {
    for (const int tile : {2, 4}) {
      greenkernels::raw::set_num_threads(tile == 2 ? 1 : 7);
      check_weight_grad<T>(c, data, MapLayout::kNhwc, MapLayout::kNchw, tile);
      if (c.batch > 100) continue;  // for its chunks
      check_weight_grad<T>(c, data, MapLayout::kNchw, MapLayout::kNchw, tile);
      check_weight_grad<T>(c, data, MapLayout::kNhwc, MapLayout::kNhwc, tile);
      check_weight_grad<T>(c, data, MapLayout::kNchw, MapLayout::kNhwc, tile);
    }
  };
  if (std::is_same_v<T, double>) return on_this_level();  // double has one level
  greenkernels::test::for_each_isa([&](cpu::Isa) { on_this_level(); });
}

// A weight packed `rotated` is the same as its rotated and transposed copy packed plainly.
void check_rotated_pack() {
  const int64_t out_c = 37, in_c = 19;
  const auto weight = random_normal<float>(out_c * in_c * 9, 1);  // [in_c, out_c, 3, 3]
  std::vector<float> turned(weight.size());
  for (int64_t k = 0; k < out_c; ++k)
    for (int64_t c = 0; c < in_c; ++c)
      for (int64_t i = 0; i < 9; ++i) turned[(k * in_c + c) * 9 + i] = weight[(c * out_c + k) * 9 + 8 - i];
  for (const int tile : {2, 4, 6}) {
    const int64_t size = winograd_packed_size(out_c, in_c, tile);
    std::vector<float> expected(size), packed(size);
    cpu::winograd_conv2d_pack(WinogradPackArgs<float>{turned.data(), expected.data(), out_c, in_c, tile});
    cpu::winograd_conv2d_pack(WinogradPackArgs<float>{weight.data(), packed.data(), out_c, in_c, tile, true});
    GK_EXPECT(packed == expected, "tile %d", tile);
  }
}

}  // namespace

int main() {
  for (const Case& c : kCases) {
    if (9.0 * double(c.batch * c.in_c * c.out_c * c.h * c.w) > greenkernels::test::most_products()) continue;
    check_layouts_and_tiles<float>(c);
    check_layouts_and_tiles<double>(c);
  }
  greenkernels::test::for_each_isa([](cpu::Isa) { check_rotated_pack(); });
  return greenkernels::test::result();
}
