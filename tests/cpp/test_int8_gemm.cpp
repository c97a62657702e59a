// int8_gemm against sums in int64: ragged sizes, ends of the ranges, every way to sum products of 8-bit
// integers.
#include "api/int8_gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "check.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Size {
  int64_t m, n, k;
};

// Smallest, ragged, around rows of the micro-kernel, panel, chunk and slice, nothing at all; few rows of a
// large weight, whose panels two threads share.
const Size kSizes[] = {{1, 1, 1},    {1, 32, 64},   {3, 5, 0},     {0, 4, 8},     {4, 0, 8},
                       {17, 33, 70}, {14, 32, 64},  {15, 31, 3},   {13, 65, 127}, {29, 97, 61},
                       {2, 70, 257}, {113, 40, 90}, {9, 33, 1030}, {2, 3, 65536}, {5, 330, 2600}};

// 64-byte aligned, as a packed weight has to be, and exactly as long as asked for.
struct Aligned {
  explicit Aligned(int64_t bytes)
      : data(static_cast<int8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))) {}
  ~Aligned() { std::free(data); }
  int8_t* data;
};

struct Data {
  std::vector<uint8_t> a;
  std::vector<int8_t> b;
  std::vector<int32_t> zero;  // of an unsigned a
  std::vector<int64_t> sums;  // of an unsigned a without zero points
  std::vector<int64_t> b_sums;
};

Data make_data(const Size& s, bool ends, unsigned seed) {
  std::mt19937 stream(seed);
  const auto byte = [&] { return ends ? (stream() % 2 ? 255 : 0) : int(stream() % 256); };
  Data data{std::vector<uint8_t>(s.m * s.k), std::vector<int8_t>(s.n * s.k), std::vector<int32_t>(s.m),
            std::vector<int64_t>(s.m * s.n), std::vector<int64_t>(s.n)};
  for (uint8_t& value : data.a) value = uint8_t(byte());
  for (int8_t& value : data.b) value = int8_t(byte() - 128);
  for (int32_t& value : data.zero) value = byte();
  for (int64_t j = 0; j < s.n; ++j) {
    for (int64_t d = 0; d < s.k; ++d) data.b_sums[j] += data.b[j * s.k + d];
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t d = 0; d < s.k; ++d) data.sums[i * s.n + j] += data.a[i * s.k + d] * data.b[j * s.k + d];
    }
  }
  return data;
}

Int8GemmArgs args_of(const Size& s, const Data& data, const int8_t* packed) {
  Int8GemmArgs args{};
  args.a = data.a.data();
  args.packed = packed;
  args.m = s.m;
  args.shape = {s.n, s.k};
  return args;
}

// The sums themselves: one zero point, one a row, and a taken as signed.
void sums_are_exact(const Size& s, const Data& data, const int8_t* packed) {
  for (int mode = 0; mode < 3; ++mode) {
    std::vector<int32_t> out(s.m * s.n, -1);
    Int8GemmArgs args = args_of(s, data, packed);
    args.out = out.data();
    args.output = Int8Output::kSums;
    args.input = mode == 2 ? Int8Input::kInt8 : Int8Input::kUint8;
    args.zero_point = data.zero.data();
    args.zero_points = mode == 0 ? std::min<int64_t>(1, s.m) : mode == 1 ? s.m : 0;
    std::vector<int8_t> flipped;
    if (mode == 2) {
      for (const uint8_t value : data.a) flipped.push_back(int8_t(value - 128));
      args.a = flipped.data();
    }
    cpu::int8_gemm(args);
    for (int64_t i = 0; i < s.m * s.n; ++i) {
      const int64_t zero = mode == 2 ? 128 : data.zero[mode == 0 ? 0 : i / s.n];
      const int64_t expected = data.sums[i] - zero * data.b_sums[i % s.n];
      GK_EXPECT(out[i] == expected, "%ld x %ld x %ld mode %d at %ld: %d, expected %ld", long(s.m), long(s.n),
                long(s.k), mode, long(i), out[i], long(expected));
      if (out[i] != expected) return;
    }
  }
}

// Scales, bias, activation, and the same as uint8. Four roundings change a float value.
void the_float_side_is_right(const Size& s, const Data& data, const int8_t* packed) {
  const auto row = random_normal<float>(std::max<int64_t>(s.m, 1), 5), col = random_normal<float>(s.n, 6),
             bias = random_normal<float>(s.n, 7);
  std::vector<float> out(s.m * s.n, -1);
  std::vector<uint8_t> bytes(s.m * s.n);
  Int8GemmArgs args = args_of(s, data, packed);
  args.row_scale = row.data();
  args.row_scales = std::max<int64_t>(s.m, 1);
  args.epilogue = {col.data(), bias.data(), Activation::kRelu, nullptr, 0, 50.0f, 17};
  args.output = Int8Output::kFloat;
  args.out = out.data();
  cpu::int8_gemm(args);
  args.output = Int8Output::kUint8;
  args.out = bytes.data();
  cpu::int8_gemm(args);
  for (int64_t i = 0; i < s.m * s.n; ++i) {
    const double product = double(row[i / s.n]) * col[i % s.n] * double(data.sums[i]), shift = bias[i % s.n];
    const double expected = std::max(0.0, product + shift);
    const double bound = 4 * 0x1p-24 * (std::fabs(product) + std::fabs(shift));
    GK_EXPECT(std::fabs(out[i] - expected) <= bound, "%g, expected %g", out[i], expected);
    const float rounded = std::nearbyint(out[i] * (1 / 50.0f)) + 17;
    GK_EXPECT(bytes[i] == uint8_t(std::min(255.0f, std::max(0.0f, rounded))), "%d of %g", bytes[i], out[i]);
    if (failures) return;
  }
}

// Float rows, quantized on the way in, against rows that were quantized before.
void quantization_is_that_of_the_contract(const Size& s, const Data& data, const int8_t* packed) {
  const auto x = random_normal<float>(s.m * s.k, 8), col = random_normal<float>(s.n, 9);
  std::vector<uint8_t> q(s.m * s.k);
  std::vector<float> scale(s.m), out(s.m * s.n), expected(s.m * s.n);
  std::vector<int32_t> zero(s.m);
  for (int64_t i = 0; i < s.m; ++i) {
    const float* row = x.data() + i * s.k;
    float high = 0, low = 0;
    for (int64_t d = 0; d < s.k; ++d) high = std::max(high, row[d]), low = std::min(low, row[d]);
    scale[i] = std::max(high / 255 - low / 255, 0x1p-126f);
    const float inverse = 1 / scale[i];
    zero[i] = -int32_t(std::nearbyint(low * inverse));
    for (int64_t d = 0; d < s.k; ++d) {
      q[i * s.k + d] = uint8_t(std::clamp(std::nearbyint(row[d] * inverse) + float(zero[i]), 0.0f, 255.0f));
    }
  }
  Int8GemmArgs args = args_of(s, data, packed);
  args.epilogue.col_scale = col.data();
  args.output = Int8Output::kFloat;
  args.a = x.data();
  args.input = Int8Input::kFloat;
  args.out = out.data();
  cpu::int8_gemm(args);
  args.a = q.data();
  args.input = Int8Input::kUint8;
  args.row_scale = scale.data(), args.row_scales = s.m;
  args.zero_point = zero.data(), args.zero_points = s.m;
  args.out = expected.data();
  if (s.m > 0) cpu::int8_gemm(args);
  GK_EXPECT(out == expected, "%ld x %ld x %ld", long(s.m), long(s.n), long(s.k));
}

void deep_sums_do_not_overflow() {
  const int64_t k = 131071;
  const std::vector<uint8_t> a(k, 255);
  const std::vector<int8_t> b(k, -128);
  const Int8Weight shape{1, k};
  const Aligned packed(shape.packed_bytes());
  cpu::int8_gemm_pack({b.data(), packed.data, shape});
  const float one = 1;
  float out = 0;
  Int8GemmArgs args{};
  args.a = a.data(), args.packed = packed.data, args.m = 1, args.shape = shape;
  args.row_scale = &one, args.row_scales = 1;
  args.epilogue.col_scale = &one;
  args.output = Int8Output::kFloat;
  args.out = &out;
  cpu::int8_gemm(args);
  GK_EXPECT(out == float(-255 * 128 * k), "%f", out);
}

void every_case() {
  for (const Size& s : kSizes) {
    if (double(s.m * s.n * s.k) > most_products()) continue;
    for (const bool ends : {false, true}) {
      const Data data = make_data(s, ends, 3);
      const Int8Weight shape{s.n, s.k};
      const Aligned packed(shape.packed_bytes());
      cpu::int8_gemm_pack({data.b.data(), packed.data, shape});
      sums_are_exact(s, data, packed.data);
      the_float_side_is_right(s, data, packed.data);
      quantization_is_that_of_the_contract(s, data, packed.data);
    }
  }
  deep_sums_do_not_overflow();
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
