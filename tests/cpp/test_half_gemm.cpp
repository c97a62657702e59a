// half_gemm against sums in double: ragged sizes, few rows and many, both formats, every instruction set.
#include "api/half_gemm.h"

#include <algorithm>
#include <cmath>

#include "check.h"
#include "cpu/half.h"
#include "quantized_rows.h"
#include "raw/parallel.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Size {
  int64_t m, n, k;
};

// Smallest, ragged, around blocks of rows, panel, chains and slices, more rows than are taken in registers,
// nothing at all.
const Size kSizes[] = {{1, 1, 1},     {1, 32, 64},   {3, 5, 0},      {0, 4, 8},       {4, 0, 8},
                       {2, 33, 70},   {5, 31, 129},  {8, 65, 255},   {9, 17, 257},    {16, 70, 33},
                       {17, 47, 257}, {40, 49, 600}, {31, 100, 513}, {200, 48, 1100}, {64, 15, 0}};

float widened(uint16_t bits, HalfFormat format) {
  return format == HalfFormat::kBFloat16 ? cpu::to_float(BFloat16{bits}) : cpu::to_float(Float16{bits});
}

uint16_t narrowed(float x, HalfFormat format) {
  return format == HalfFormat::kBFloat16 ? cpu::to_bfloat16(x).bits : cpu::to_float16(x).bits;
}

void matches_double(const Size& s, HalfFormat format) {
  const HalfWeight shape{s.n, s.k, format};
  const auto x = random_normal<float>(s.m * s.k, 8), bias = random_normal<float>(s.n, 9),
             w = random_normal<float>(s.n * s.k, 10), slope = random_normal<float>(s.n, 11);
  std::vector<uint16_t> b(s.n * s.k);
  for (size_t i = 0; i < b.size(); ++i) b[i] = narrowed(w[i], format);
  const Aligned packed(shape.packed_elements() * 2);
  auto* const panels = reinterpret_cast<uint16_t*>(packed.data);
  cpu::half_gemm_pack({b.data(), panels, shape});
  std::vector<float> out(s.m * s.n, -1);
  cpu::half_gemm(
      {x.data(), panels, bias.data(), Activation::kPrelu, slope.data(), s.n, out.data(), s.m, shape});
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = bias[j], size = std::fabs(bias[j]);
      for (int64_t d = 0; d < s.k; ++d) {
        const double term = double(x[i * s.k + d]) * widened(b[j * s.k + d], format);
        sum += term;
        size += std::fabs(term);
      }
      const double factor = sum < 0 ? double(slope[j]) : 1;
      // A rounding for each product, four for chains that meet, the bias, the slope; on either side of 0.
      const double bound = double(s.k + 6) * 0x1p-24 * size * std::max(1.0, std::fabs(double(slope[j])));
      GK_EXPECT(std::fabs(out[i * s.n + j] - factor * sum) <= bound, "%ld x %ld x %ld: %g, expected %g",
                long(s.m), long(s.n), long(s.k), out[i * s.n + j], factor * sum);
      if (failures) return;
    }
  }
}

// So many threads pack the weight in float32 first, and so deep a one by columns (test_sgemm's
// test_packs_first).
void packs_by_columns() {
  const Size size{28, 520, 16384};
  if (double(size.m * size.n * size.k) > most_products()) return;
  cpu::set_isa(cpu::isa_name(cpu::isa_levels().back()));
  raw::set_num_threads(16);
  matches_double(size, HalfFormat::kFloat16);
}

}  // namespace

int main() {
  for_each_isa([](cpu::Isa) {
    for (const Size& s : kSizes) {
      for (const HalfFormat format : {HalfFormat::kBFloat16, HalfFormat::kFloat16}) matches_double(s, format);
    }
  });
  packs_by_columns();
  return result();
}
