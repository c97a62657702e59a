// int8_winograd_conv2d against the contract computed tile by tile in double, and the choices of its plan.
#include "api/int8_winograd_conv2d.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "check.h"
#include "cpu/int8_range.h"
#include "cpu/int8_winograd_conv2d/plan.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Shape {
  int64_t batch, in_c, out_c, h, w, pad;
};

const Shape kShapes[] = {{1, 1, 1, 3, 3, 0},   {2, 3, 33, 5, 8, 1},  {1, 65, 40, 9, 7, 1},
                         {3, 64, 32, 4, 6, 0}, {1, 130, 5, 1, 2, 1}, {1, 20, 16, 15, 14, 2}};

// 64-byte aligned, as a packed weight has to be.
struct Aligned {
  explicit Aligned(int64_t bytes)
      : data(static_cast<int8_t*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64))) {}
  ~Aligned() { std::free(data); }
  int8_t* data;
};

constexpr double kA[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};

// B^T times a column of four.
void transform(const float (&d)[4], float (&v)[4]) {
  v[0] = d[0] - d[2], v[1] = d[1] + d[2], v[2] = d[2] - d[1], v[3] = d[1] - d[3];
}

// The taps of one channel of the tile whose first input value is at (y, x).
void taps_of(const Int8WinogradArgs& args, int64_t image, int64_t y, int64_t x, int64_t c, float (&v)[4][4]) {
  float rows[4][4];
  for (int j = 0; j < 4; ++j) {
    float d[4], column[4];
    for (int i = 0; i < 4; ++i) {
      const bool inside = y + i >= 0 && y + i < args.h && x + j >= 0 && x + j < args.w;
      d[i] = inside ? args.input[((image * args.h + y + i) * args.w + x + j) * args.in_c + c] : 0;
    }
    transform(d, column);
    for (int i = 0; i < 4; ++i) rows[i][j] = column[i];
  }
  for (int i = 0; i < 4; ++i) transform(rows[i], v[i]);
}

// Quantized taps of a tile without their zero points, [16][in_c], and the step of each.
void quantize_tile(const Int8WinogradArgs& args, int64_t image, int64_t y, int64_t x, std::vector<int64_t>& q,
                   float (&step)[16]) {
  std::vector<float> v(16 * args.in_c);
  for (int64_t c = 0; c < args.in_c; ++c) {
    float of_channel[4][4];
    taps_of(args, image, y, x, c, of_channel);
    for (int t = 0; t < 16; ++t) v[t * args.in_c + c] = of_channel[t / 4][t % 4];
  }
  for (int t = 0; t < 16; ++t) {
    cpu::FloatRange range{0, 0, true};
    for (int64_t c = 0; c < args.in_c; ++c) {
      range.high = std::max(range.high, v[t * args.in_c + c]);
      range.depth = std::max(range.depth, -v[t * args.in_c + c]);
    }
    const cpu::Quantizer by = cpu::quantizer_of(range);
    step[t] = by.scale;
    for (int64_t c = 0; c < args.in_c; ++c) {
      const float rounded = std::nearbyint(v[t * args.in_c + c] * by.inverse) + by.zero;
      q[t * args.in_c + c] = int64_t(std::clamp(rounded, 0.0f, 255.0f)) - int64_t(by.zero);
    }
  }
}

// One tile of the output against `weight` [16][out_c][in_c]. Nine roundings change a value, see the contract.
void check_tile(const Int8WinogradArgs& args, const std::vector<int8_t>& weight, int64_t image, int64_t row,
                int64_t column) {
  std::vector<int64_t> q(16 * args.in_c);
  float step[16];
  quantize_tile(args, image, row - args.pad_h, column - args.pad_w, q, step);
  for (int64_t k = 0; k < args.out_c; ++k) {
    double p[16];
    for (int t = 0; t < 16; ++t) {
      int64_t sum = 0;
      for (int64_t c = 0; c < args.in_c; ++c) {
        sum += q[t * args.in_c + c] * weight[(t * args.out_c + k) * args.in_c + c];
      }
      p[t] = double(step[t]) * args.weight_scale[t * args.out_c + k] * double(sum);
    }
    for (int64_t i = 0; i < 2 && row + i < args.out_h(); ++i) {
      for (int64_t j = 0; j < 2 && column + j < args.out_w(); ++j) {
        double expected = args.bias[k], size = std::fabs(args.bias[k]);
        for (int t = 0; t < 16; ++t) {
          const double term = kA[i][t / 4] * p[t] * kA[j][t % 4];
          expected += term, size += std::fabs(term);
        }
        const float got =
            args.out[((image * args.out_h() + row + i) * args.out_w() + column + j) * args.out_c + k];
        GK_EXPECT(std::fabs(got - expected) <= 9 * 0x1p-24 * size, "%g, expected %g", got, expected);
        if (failures) return;
      }
    }
  }
}

void check_shape(const Shape& s) {
  const auto x = random_normal<float>(s.batch * s.in_c * s.h * s.w, 1),
             scale = random_normal<float>(16 * s.out_c, 2), bias = random_normal<float>(s.out_c, 3);
  std::vector<int8_t> weight(16 * s.out_c * s.in_c);
  std::mt19937 stream(7);
  for (int8_t& value : weight) value = int8_t(stream() % 256 - 128);
  Int8WinogradArgs args{};
  args.input = x.data();
  args.weight_scale = scale.data();
  args.bias = bias.data();
  args.batch = s.batch, args.in_c = s.in_c, args.out_c = s.out_c, args.h = s.h, args.w = s.w;
  args.pad_h = args.pad_w = s.pad;
  const Int8Weight shape = args.tap_shape();
  const Aligned packed(16 * shape.packed_bytes());
  for (int64_t t = 0; t < 16; ++t) {
    cpu::int8_gemm_pack(
        {weight.data() + t * shape.n * shape.k, packed.data + t * shape.packed_bytes(), shape});
  }
  args.packed = packed.data;
  std::vector<float> out(s.batch * s.out_c * args.out_h() * args.out_w(), NAN);
  args.out = out.data();
  cpu::int8_winograd_conv2d(args);
  for (int64_t image = 0; image < s.batch; ++image) {
    for (int64_t row = 0; row < args.out_h(); row += 2) {
      for (int64_t column = 0; column < args.out_w(); column += 2) {
        check_tile(args, weight, image, row, column);
      }
    }
  }
}

// Groups stay in half of L2 but for a block, cover all tiles, and are enough for the threads, as panels are.
void check_plan_of(int64_t tiles, int64_t in_c, int64_t panels, int threads) {
  const auto plan = cpu::int8_winograd_plan({tiles, in_c, panels, 1, 10, threads, 2 << 20});
  GK_EXPECT(plan.group >= 1 && plan.group <= tiles, "group %ld of %ld", long(plan.group), long(tiles));
  const int64_t bytes = 16 * ((in_c + 63) / 64 * 64 + 128);
  if (plan.panels_outer) {
    GK_EXPECT(threads > 1 && plan.group == tiles && panels >= threads, "%d threads, %ld panels", threads,
              long(panels));
  } else {
    GK_EXPECT(plan.group <= 10 || (plan.group - 10) * bytes <= 1 << 20, "group %ld", long(plan.group));
    GK_EXPECT((plan.group - 10) * threads <= tiles, "group %ld of %ld for %d threads", long(plan.group),
              long(tiles), threads);
  }
}

void check_plan() {
  for (const int64_t tiles : {1, 49, 784, 12544}) {
    for (const int64_t in_c : {1, 64, 512, 4096}) {
      for (const int64_t panels : {1, 2, 3, 16}) {
        for (const int threads : {1, 2, 64}) check_plan_of(tiles, in_c, panels, threads);
      }
    }
  }
}

}  // namespace

int main() {
  check_plan();
  for_each_isa([](cpu::Isa) {
    for (const bool vnni : {true, false}) {
      cpu::set_vnni(vnni);
      for (const Shape& s : kShapes) check_shape(s);
    }
  });
  return result();
}
