// strassen_conv2d against a naive convolution in double: ragged sizes, both layouts on both sides, levels,
// skip connections in place and beside, every instruction set.
#include "api/strassen_conv2d.h"

#include <limits>
#include <numeric>

#include "conv_oracle.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Case {
  int64_t batch, in_c, out_c, h, w;
};

// Smallest, around the widths of a panel and a block of rows, depths beyond a slice, nothing at all.
const Case kCases[] = {{1, 1, 1, 1, 1},    {2, 17, 33, 5, 3},  {1, 64, 32, 2, 7},   {3, 40, 96, 7, 7},
                       {1, 600, 47, 9, 5}, {2, 257, 15, 3, 5}, {1, 5, 100, 13, 13}, {0, 4, 4, 6, 6},
                       {1, 0, 7, 2, 3},    {1, 5, 0, 6, 6},    {1, 5, 4, 0, 3}};

enum class Skip { kNone, kBeside, kInPlace };

struct Setup {
  MapLayout in, out;
  Activation activation;
  Skip skip;
  int levels;
};

template <typename T>
struct Data {
  std::vector<T> input, weight, bias, skip, slopes;  // maps in NCHW
};

template <typename T>
double exact_at(const Case& c, const Data<T>& data, const Setup& s, int64_t at) {
  const int64_t pixels = c.h * c.w, n = at / (c.out_c * pixels), k = at / pixels % c.out_c, p = at % pixels;
  double sum = double(data.bias[k]) + (s.skip == Skip::kNone ? 0 : 0.5 * double(data.skip[at]));
  for (int64_t d = 0; d < c.in_c; ++d) {
    sum += double(data.weight[k * c.in_c + d]) * double(data.input[(n * c.in_c + d) * pixels + p]);
  }
  return apply(s.activation, sum, double(data.slopes[k]));
}

template <typename T>
void check(const Case& c, const Setup& s) {
  const int64_t outputs = c.batch * c.out_c * c.h * c.w;
  const Data<T> data{random_normal<T>(c.batch * c.in_c * c.h * c.w, 1), random_normal<T>(c.out_c * c.in_c, 2),
                     random_normal<T>(c.out_c, 3), random_normal<T>(outputs, 4),
                     random_normal<T>(c.out_c, 5)};
  const auto input = in_layout(data.input, s.in, c.in_c, c.h, c.w),
             skip = in_layout(data.skip, s.out, c.out_c, c.h, c.w);
  std::vector<T> panels(strassen_packed_size(c.out_c, c.in_c, s.levels) + 16), out(outputs);
  T* packed = panels.data() + (64 - reinterpret_cast<uintptr_t>(panels.data()) % 64) % 64 / sizeof(T);
  if (s.skip == Skip::kInPlace) out = skip;
  out.resize(outputs + 64, T(77));  // the tail must stay
  const SgemmPackArgs<T> weight{data.weight.data(), packed, c.in_c, 1, c.out_c, c.in_c};
  cpu::strassen_gemm_pack(StrassenPackArgs<T>{weight, s.levels});
  StrassenConv2dArgs<T> args{};
  args.input = input.data(), args.packed = packed, args.bias = data.bias.data(), args.out = out.data();
  args.skip = s.skip == Skip::kNone ? nullptr : s.skip == Skip::kInPlace ? out.data() : skip.data();
  args.skip_scale = 0.5, args.activation = s.activation;
  if (s.activation == Activation::kPrelu)
    args.activation_param = data.slopes.data(), args.activation_params = c.out_c;
  args.input_layout = s.in, args.out_layout = s.out, args.levels = s.levels;
  args.in_c = c.in_c, args.out_c = c.out_c, args.batch = c.batch, args.h = c.h, args.w = c.w;
  cpu::strassen_conv2d(args);

  std::vector<int64_t> position(outputs);  // in NCHW order, of the elements of out
  std::iota(position.begin(), position.end(), 0);
  position = in_layout(position, s.out, c.out_c, c.h, c.w);
  // As for sgemm and strassen_gemm; slopes are below 4.
  const double bound =
      4 * 5 * std::numeric_limits<T>::epsilon() * (double(c.in_c) + 12) * std::pow(4.0, s.levels);
  double worst = 0;
  for (int64_t i = 0; i < outputs; ++i) {
    const double error = std::fabs(exact_at(c, data, s, position[i]) - double(out[i]));
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  GK_EXPECT(worst <= bound, "isa %s layouts %d%d levels %d skip %d channels %ld -> %ld map %ldx%ld: %g > %g",
            cpu::isa_name(cpu::isa()), int(s.in), int(s.out), s.levels, int(s.skip), long(c.in_c),
            long(c.out_c), long(c.h), long(c.w), worst, bound);
  GK_EXPECT(std::all_of(out.end() - 64, out.end(), [](T v) { return v == T(77); }),
            "wrote past the end of out");
}

template <typename T>
void check_setups(const Case& c) {
  constexpr MapLayout kRows = MapLayout::kNhwc, kPlanes = MapLayout::kNchw;
  check<T>(c, {kRows, kRows, Activation::kNone, Skip::kNone, 0});
  check<T>(c, {kRows, kRows, Activation::kRelu, Skip::kBeside, 0});
  check<T>(c, {kRows, kRows, Activation::kPrelu, Skip::kInPlace, 1});
  check<T>(c, {kPlanes, kPlanes, Activation::kPrelu, Skip::kBeside, 0});
  check<T>(c, {kPlanes, kPlanes, Activation::kRelu, Skip::kInPlace, 2});
  check<T>(c, {kPlanes, kRows, Activation::kGelu, Skip::kNone, 1});
  check<T>(c, {kRows, kPlanes, Activation::kNone, Skip::kBeside, 1});
}

}  // namespace

int main() {
  for (const Case& c : kCases) {
    for_each_isa([&](cpu::Isa) { check_setups<float>(c); });
    check_setups<double>(c);
  }
  return result();
}
