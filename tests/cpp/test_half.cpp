// 16-bit numbers: the conversions of one number against their definition, those of vectors against these, at
// every instruction set. The copy of avx512 that rounds to bfloat16 without AVX512-BF16 has no other test on
// a CPU with it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "cpu/denormals.h"
#include "cpu/half.h"

#define GK_KERNEL "map_elements_on_arrays.inl"
#define GK_KERNEL_BF16
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512,avx512bf16}::widen_all and narrow_all

namespace {

using namespace greenkernels;

// What the bits mean, in double.
double value(int exponent_bits, int fraction_bits, uint16_t bits) {
  const int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
  const int fraction = bits & ((1 << fraction_bits) - 1), bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits & 0x8000 ? -1 : 1, part = std::ldexp(double(fraction), -fraction_bits);
  if (exponent == (1 << exponent_bits) - 1) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1 + part, exponent - bias) : std::ldexp(part, 1 - bias));
}
double value(BFloat16 x) { return value(8, 7, x.bits); }
double value(Float16 x) { return value(5, 10, x.bits); }

template <typename S>
S narrowed(float x) {
  if constexpr (std::is_same_v<S, BFloat16>) {
    return cpu::to_bfloat16(x);
  } else {
    return cpu::to_float16(x);
  }
}

template <typename S>
std::vector<S> all_numbers() {
  std::vector<S> all(1 << 16);
  for (int i = 0; i < 1 << 16; ++i) all[i].bits = uint16_t(i);
  return all;
}

// Every 16-bit number, the middle between it and the next and the floats beside that middle.
template <typename S>
std::vector<float> floats() {
  std::vector<float> all;
  for (const S x : all_numbers<S>()) {
    const float low = cpu::to_float(x), high = cpu::to_float(S{uint16_t(x.bits + 1)});
    const float middle = low / 2 + high / 2;
    for (const float f : {low, middle, std::nextafter(middle, low), std::nextafter(middle, high)})
      if (f == 0 || std::isnan(f) || std::fabs(f) >= std::numeric_limits<float>::min()) all.push_back(f);
  }
  return all;
}

template <typename S>
bool same(S a, S b) {
  return a.bits == b.bits || (std::isnan(value(a)) && std::isnan(value(b)));
}

template <typename S>
void check_one_by_one(const char* name) {
  for (const S x : all_numbers<S>()) {
    const float wide = cpu::to_float(x);
    GK_EXPECT(wide == value(x) || (std::isnan(wide) && std::isnan(value(x))), "%s %04x", name, x.bits);
    GK_EXPECT(same(narrowed<S>(wide), x), "%s %04x does not come back", name, x.bits);
  }
  // The nearest of the number found and its neighbours is the number found; of two as near, the even one.
  for (const float f : floats<S>()) {
    const S found = narrowed<S>(f);
    GK_EXPECT(std::isnan(f) == std::isnan(value(found)), "%s of %g", name, f);
    if (!std::isfinite(f) || !std::isfinite(value(found))) continue;
    const double error = std::fabs(value(found) - f);
    for (const int step : {-1, 1}) {
      const S other{uint16_t(found.bits + step)};
      if ((found.bits & 0x7fff) == 0 || !std::isfinite(value(other))) continue;
      const double its = std::fabs(value(other) - f);
      GK_EXPECT(error < its || (error == its && found.bits % 2 == 0), "%s of %a is not %04x", name, f,
                found.bits);
    }
  }
}

template <typename S>
void check_arrays(const char* level, void (*widen)(const S*, int64_t, float*),
                  void (*narrow)(const float*, int64_t, S*)) {
  const std::vector<S> numbers = all_numbers<S>();
  const std::vector<float> values = floats<S>();
  const cpu::FlushDenormals guard;  // as kernels run
  std::vector<float> wide(numbers.size());
  widen(numbers.data(), int64_t(numbers.size()), wide.data());
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float one = cpu::to_float(numbers[i]);
    GK_EXPECT(wide[i] == one || (std::isnan(wide[i]) && std::isnan(one)), "%s %zx", level, i);
  }
  std::vector<S> found(values.size());
  narrow(values.data(), int64_t(values.size()), found.data());
  for (size_t i = 0; i < values.size(); ++i)
    GK_EXPECT(same(found[i], narrowed<S>(values[i])), "%s of %a: %04x", level, values[i], found[i].bits);
  for (int64_t n = 0; n <= 17; ++n) {  // ragged ends leave what lies behind
    std::vector<float> some(24, 7);
    std::vector<S> halves(24, S{7});
    widen(numbers.data() + 0x3c00, n, some.data());
    narrow(values.data(), n, halves.data());
    for (int64_t i = n; i < 24; ++i)
      GK_EXPECT(some[i] == 7 && halves[i].bits == 7, "%s: wrote past %ld", level, long(n));
  }
}

#define GK_CHECK_LEVEL(level)                                                                        \
  check_arrays<BFloat16>(#level, cpu::level::widen_all<BFloat16>, cpu::level::narrow_all<BFloat16>); \
  check_arrays<Float16>(#level, cpu::level::widen_all<Float16>, cpu::level::narrow_all<Float16>)

}  // namespace

int main() {
  check_one_by_one<BFloat16>("bfloat16");
  check_one_by_one<Float16>("float16");
  const std::vector<cpu::Isa>& levels = cpu::isa_levels();
  const auto has = [&](cpu::Isa level) {
    return std::find(levels.begin(), levels.end(), level) != levels.end();
  };
  GK_CHECK_LEVEL(scalar);
#if defined(__x86_64__)
  if (has(cpu::Isa::kAvx2)) {
    GK_CHECK_LEVEL(avx2);
  }
  if (has(cpu::Isa::kAvx512)) {
    GK_CHECK_LEVEL(avx512);
  }
  if (has(cpu::Isa::kAvx512) && cpu::cpu_features().avx512_bf16) {
    GK_CHECK_LEVEL(avx512bf16);
  }
#elif defined(__aarch64__)
  if (has(cpu::Isa::kNeon)) {
    GK_CHECK_LEVEL(neon);
  }
#endif
  return greenkernels::test::result();
}
