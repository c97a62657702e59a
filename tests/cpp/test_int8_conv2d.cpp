// int8_conv2d against sums in int64 taken tap by tap: ragged sizes, ends of the ranges, both layouts, groups,
// every way to sum products of 8-bit integers.
#include "api/int8_conv2d.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "check.h"
#include "conv_oracle.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Shape {
  int64_t batch, in_c, out_c, h, w, kernel_h, kernel_w, stride, pad, dilation, groups;

  int64_t out_size(int64_t in, int64_t kernel) const {
    return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
  }
  int64_t out_h() const { return out_size(h, kernel_h); }
  int64_t out_w() const { return out_size(w, kernel_w); }
  int64_t in_size() const { return batch * in_c * h * w; }
  int64_t out_elements() const { return batch * out_c * out_h() * out_w(); }
};

// Smallest, around panel, chunk and vector, strides and dilations, groups, no channels at all.
const Shape kShapes[] = {{1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1},
                         {2, 3, 33, 9, 7, 3, 3, 1, 1, 1, 1},
                         {1, 64, 32, 6, 17, 3, 3, 1, 1, 1, 1},
                         {2, 65, 40, 5, 5, 1, 1, 2, 0, 1, 1},
                         {3, 6, 34, 11, 9, 2, 5, 2, 3, 2, 2},
                         {1, 130, 5, 4, 4, 3, 3, 1, 2, 1, 1},
                         {1, 8, 8, 7, 6, 3, 3, 1, 1, 1, 8},
                         {1, 0, 4, 3, 3, 3, 3, 1, 1, 1, 1},
                         {1, 21, 70, 15, 16, 1, 7, 1, 3, 1, 1},
                         // Depthwise: two rows at a time or one, more than a run, more rows than a quad.
                         {2, 40, 40, 9, 70, 3, 3, 1, 1, 1, 40},
                         {1, 70, 70, 11, 9, 3, 3, 2, 1, 1, 70},
                         {1, 33, 33, 12, 10, 7, 5, 1, 3, 1, 33},
                         {2, 6, 6, 9, 9, 4, 3, 1, 1, 2, 6},
                         {1, 64, 64, 8, 8, 8, 1, 1, 4, 1, 64},
                         {1, 5, 5, 40, 3, 33, 1, 1, 16, 1, 5},
                         {1, 17, 17, 5, 131, 2, 2, 2, 0, 3, 17}};

// 64-byte aligned, as a packed filter has to be.
struct Aligned {
  explicit Aligned(int64_t bytes)
      : data(static_cast<int8_t*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64))) {}
  ~Aligned() { std::free(data); }
  int8_t* data;
};

// The filter element of output channel k at channel c of its group, with channels innermost.
int64_t filter_at(const Shape& s, int64_t k, int64_t c, int64_t i, int64_t j) {
  return ((k * s.kernel_h + i) * s.kernel_w + j) * (s.in_c / s.groups) + c;
}

// The sum at one output value, over NCHW `q`.
int64_t sum_at(const Shape& s, const std::vector<uint8_t>& q, const std::vector<int8_t>& weight, int64_t zero,
               int64_t at) {
  const int64_t x = at % s.out_w(), y = at / s.out_w() % s.out_h(),
                k = at / (s.out_w() * s.out_h()) % s.out_c;
  const int64_t n = at / (s.out_w() * s.out_h() * s.out_c), of_group = s.in_c / s.groups;
  const int64_t first = k / (s.out_c / s.groups) * of_group;
  int64_t sum = 0;
  for (int64_t c = 0; c < of_group; ++c) {
    for (int64_t i = 0; i < s.kernel_h; ++i) {
      for (int64_t j = 0; j < s.kernel_w; ++j) {
        const int64_t row = y * s.stride + i * s.dilation - s.pad,
                      col = x * s.stride + j * s.dilation - s.pad;
        if (row < 0 || row >= s.h || col < 0 || col >= s.w) continue;
        const int64_t value = q[((n * s.in_c + first + c) * s.h + row) * s.w + col];
        sum += (value - zero) * weight[filter_at(s, k, c, i, j)];
      }
    }
  }
  return sum;
}

Int8Conv2dArgs args_of(const Shape& s, const int8_t* packed, MapLayout layout) {
  Int8Conv2dArgs args{};
  args.packed = packed;
  args.input_layout = args.out_layout = layout;
  args.filter = {s.out_c, s.in_c / s.groups, s.kernel_h, s.kernel_w, s.groups};
  args.batch = s.batch, args.h = s.h, args.w = s.w;
  args.out_h = s.out_h(), args.out_w = s.out_w();
  args.pad_h = args.pad_w = s.pad;
  args.stride_h = args.stride_w = s.stride;
  args.dilation_h = args.dilation_w = s.dilation;
  return args;
}

struct Data {
  std::vector<uint8_t> q;
  std::vector<int8_t> weight;
  std::vector<int32_t> zero;  // of each image
  std::vector<int64_t> sums;
};

Data make_data(const Shape& s, bool ends) {
  std::mt19937 stream(7);
  const auto byte = [&] { return ends ? (stream() % 2 ? 255 : 0) : int(stream() % 256); };
  Data data{std::vector<uint8_t>(s.in_size()),
            std::vector<int8_t>(s.out_c * s.in_c / s.groups * s.kernel_h * s.kernel_w),
            std::vector<int32_t>(s.batch), std::vector<int64_t>(s.out_elements())};
  for (uint8_t& value : data.q) value = uint8_t(byte());
  for (int8_t& value : data.weight) value = int8_t(byte() - 128);
  for (int32_t& value : data.zero) value = byte();
  const int64_t image = s.out_elements() / s.batch;
  for (int64_t i = 0; i < s.out_elements(); ++i) {
    data.sums[i] = sum_at(s, data.q, data.weight, data.zero[i / image], i);
  }
  return data;
}

void sums_are_exact(const Shape& s, const Data& data, const int8_t* packed, MapLayout layout) {
  std::vector<int32_t> out(s.out_elements(), -1);
  const std::vector<uint8_t> input = in_layout(data.q, layout, s.in_c, s.h, s.w);
  Int8Conv2dArgs args = args_of(s, packed, layout);
  args.input = input.data();
  args.input_type = Int8Input::kUint8;
  args.zero_point = data.zero.data(), args.zero_points = s.batch;
  args.out = out.data();
  cpu::int8_conv2d(args);
  const std::vector<int64_t> expected = in_layout(data.sums, layout, s.out_c, s.out_h(), s.out_w());
  for (int64_t i = 0; i < s.out_elements(); ++i) {
    GK_EXPECT(out[i] == expected[i], "%ld channels %ld at %ld: %d, expected %ld", long(s.in_c), long(s.out_c),
              long(i), out[i], long(expected[i]));
    if (out[i] != expected[i]) return;
  }
}

// Scales, bias, skip and activation on the same sums. Five roundings change a float value.
void the_float_side_is_right(const Shape& s, const Data& data, const int8_t* packed, MapLayout layout) {
  const auto scale = random_normal<float>(s.batch, 5), of_weight = random_normal<float>(s.out_c, 6),
             bias = random_normal<float>(s.out_c, 7), skip = random_normal<float>(s.out_elements(), 8);
  std::vector<float> out = in_layout(skip, layout, s.out_c, s.out_h(), s.out_w());
  const std::vector<uint8_t> input = in_layout(data.q, layout, s.in_c, s.h, s.w);
  Int8Conv2dArgs args = args_of(s, packed, layout);
  args.input = input.data();
  args.input_type = Int8Input::kUint8;
  args.input_scale = scale.data(), args.input_scales = s.batch;
  args.zero_point = data.zero.data(), args.zero_points = s.batch;
  args.weight_scale = of_weight.data();
  args.bias = bias.data();
  args.skip = out.data(), args.skip_scale = 0.5f;  // out aliases skip, as the contract allows
  args.activation = Activation::kRelu;
  args.out = out.data();
  cpu::int8_conv2d(args);
  const std::vector<float> added = in_layout(skip, layout, s.out_c, s.out_h(), s.out_w());
  const std::vector<int64_t> sums = in_layout(data.sums, layout, s.out_c, s.out_h(), s.out_w());
  const int64_t image = s.out_elements() / s.batch, plane = s.out_h() * s.out_w();
  for (int64_t i = 0; i < s.out_elements(); ++i) {
    const int64_t n = i / image, k = layout == MapLayout::kNchw ? i / plane % s.out_c : i % s.out_c;
    const double product = double(scale[n]) * of_weight[k] * double(sums[i]);
    const double expected = std::max(0.0, product + bias[k] + 0.5 * added[i]);
    const double size = std::fabs(product) + std::fabs(bias[k]) + std::fabs(added[i]);
    GK_EXPECT(std::fabs(out[i] - expected) <= 5 * 0x1p-24 * size, "%g, expected %g", out[i], expected);
    if (failures) return;
  }
}

// 8-bit maps on the way out, against the float maps rounded.
void rounding_of_the_output_is_that_of_the_contract(const Shape& s, const Data& data, const int8_t* packed) {
  const auto of_weight = random_normal<float>(s.out_c, 6), bias = random_normal<float>(s.out_c, 7);
  const std::vector<uint8_t> input = in_layout(data.q, MapLayout::kNhwc, s.in_c, s.h, s.w);
  const float scale = 0.01f, inverse = 1 / 0.05f;
  std::vector<float> real(s.out_elements());
  std::vector<uint8_t> out(s.out_elements());
  Int8Conv2dArgs args = args_of(s, packed, MapLayout::kNhwc);
  args.input = input.data();
  args.input_type = Int8Input::kUint8;
  args.input_scale = &scale, args.input_scales = 1;
  args.weight_scale = of_weight.data();
  args.bias = bias.data();
  args.out = real.data();
  cpu::int8_conv2d(args);
  args.out = out.data();
  args.out_scale = 0.05f, args.out_zero_point = 100;
  cpu::int8_conv2d(args);
  for (int64_t i = 0; i < s.out_elements(); ++i) {
    const float expected = std::clamp(std::nearbyint(real[i] * inverse) + 100.0f, 0.0f, 255.0f);
    GK_EXPECT(float(out[i]) == expected, "%d, expected %g", int(out[i]), expected);
    if (failures) return;
  }
}

// Float maps, quantized on the way in, against maps that were quantized before.
void quantization_is_that_of_the_contract(const Shape& s, const int8_t* packed, MapLayout layout) {
  const auto x = random_normal<float>(s.in_size(), 8), of_weight = random_normal<float>(s.out_c, 9);
  std::vector<uint8_t> q(s.in_size());
  std::vector<float> scale(s.batch), out(s.out_elements()), expected(s.out_elements());
  std::vector<int32_t> zero(s.batch);
  const int64_t image = s.in_size() / s.batch;
  for (int64_t n = 0; n < s.batch; ++n) {
    float high = 0, low = 0;
    for (int64_t i = n * image; i < (n + 1) * image; ++i)
      high = std::max(high, x[i]), low = std::min(low, x[i]);
    scale[n] = std::max(high / 255 - low / 255, 0x1p-126f);
    const float inverse = 1 / scale[n];
    zero[n] = -int32_t(std::nearbyint(low * inverse));
    for (int64_t i = n * image; i < (n + 1) * image; ++i) {
      q[i] = uint8_t(std::clamp(std::nearbyint(x[i] * inverse) + float(zero[n]), 0.0f, 255.0f));
    }
  }
  const std::vector<float> floats = in_layout(x, layout, s.in_c, s.h, s.w);
  const std::vector<uint8_t> bytes = in_layout(q, layout, s.in_c, s.h, s.w);
  Int8Conv2dArgs args = args_of(s, packed, layout);
  args.weight_scale = of_weight.data();
  args.input = floats.data();
  args.input_type = Int8Input::kFloat;
  args.out = out.data();
  cpu::int8_conv2d(args);
  args.input = bytes.data();
  args.input_type = Int8Input::kUint8;
  args.input_scale = scale.data(), args.input_scales = s.batch;
  args.zero_point = zero.data(), args.zero_points = s.batch;
  args.out = expected.data();
  cpu::int8_conv2d(args);
  GK_EXPECT(out == expected, "%ld channels, %ld x %ld", long(s.in_c), long(s.h), long(s.w));
}

void every_case() {
  for (const Shape& s : kShapes) {
    const Int8Filter of_shape{s.out_c, s.in_c / s.groups, s.kernel_h, s.kernel_w, s.groups};
    if (double(s.batch * s.h * s.w) * double(of_shape.packed_bytes()) > most_products()) continue;
    for (const bool ends : {false, true}) {
      const Data data = make_data(s, ends);
      const Int8Filter filter{s.out_c, s.in_c / s.groups, s.kernel_h, s.kernel_w, s.groups};
      const Aligned packed(filter.packed_bytes());
      cpu::int8_conv2d_pack({data.weight.data(), packed.data, filter});
      rounding_of_the_output_is_that_of_the_contract(s, data, packed.data);
      for (const MapLayout layout : {MapLayout::kNchw, MapLayout::kNhwc}) {
        sums_are_exact(s, data, packed.data, layout);
        the_float_side_is_right(s, data, packed.data, layout);
        quantization_is_that_of_the_contract(s, packed.data, layout);
      }
    }
  }
}

}  // namespace

int main() {
  for_each_isa([](cpu::Isa) {
    for (const bool vnni : {true, false}) {
      cpu::set_vnni(vnni);
      every_case();
    }
  });
  return result();
}
