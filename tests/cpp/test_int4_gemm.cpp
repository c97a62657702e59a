// int4_gemm against sums in double: ragged sizes, ends of the ranges, every way to sum products of 4-bit
// integers.
#include "api/int4_gemm.h"

#include "check.h"
#include "cpu/half.h"
#include "quantized_rows.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Size {
  int64_t m, n, k, group;
};

// Smallest, ragged, around rows of the micro-kernel, panel, octet and group, nothing at all.
const Size kSizes[] = {{1, 1, 1, 32},     {1, 32, 64, 64},   {3, 5, 0, 64},
                       {0, 4, 8, 32},     {6, 33, 70, 32},   {7, 31, 129, 128},
                       {13, 65, 127, 64}, {2, 70, 1025, 64}, {5, 97, 256, 128}};

void matches_double(const Size& s, bool ends) {
  std::mt19937 stream(7);
  const Int4Weight shape{s.n, s.k, s.group};
  const int64_t groups = shape.groups();
  const auto x = random_normal<float>(s.m * s.k, 8), bias = random_normal<float>(s.n, 9),
             slope = random_normal<float>(s.n, 11);
  const int64_t slopes = ends ? 1 : s.n;
  auto scale = random_normal<float>(s.n * groups, 10);
  std::vector<int8_t> b(s.n * s.k);
  for (int8_t& value : b) value = int8_t(ends ? (stream() % 2 ? 7 : -8) : int(stream() % 16) - 8);
  const Aligned packed(shape.packed_bytes());
  cpu::int4_gemm_pack({b.data(), scale.data(), packed.data, shape});
  std::vector<float> out(s.m * s.n, -1);
  cpu::int4_gemm(
      {x.data(), packed.data, bias.data(), Activation::kPrelu, slope.data(), slopes, out.data(), s.m, shape});
  for (int64_t i = 0; i < s.m; ++i) {
    const Row row = quantized(x.data() + i * s.k, s.k);
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0, size = 0;
      for (int64_t d = 0; d < s.k; ++d) {
        const double w =
            double(cpu::to_float(cpu::to_bfloat16(scale[j * groups + d / s.group]))) * b[j * s.k + d];
        sum += w * row.q[d];
        size += std::fabs(w) * (std::fabs(row.q[d] + row.zero - 128) + std::fabs(row.zero - 128));
      }
      const double v = row.scale * sum + bias[j], factor = slope[slopes == 1 ? 0 : j];
      const double expected = v < 0 ? factor * v : v;
      // Sums of rows and of groups are rounded once a group each; then the zero point, the scale, the bias,
      // the slope, whose branch on either side of 0 is as far off as the steeper one makes it.
      const double bound = double(2 * groups + 5) * 0x1p-24 * std::max(1.0, std::fabs(factor)) *
                           (row.scale * size + std::fabs(bias[j]));
      GK_EXPECT(std::fabs(out[i * s.n + j] - expected) <= bound, "%ld x %ld x %ld by %ld: %g, expected %g",
                long(s.m), long(s.n), long(s.k), long(s.group), out[i * s.n + j], expected);
      if (failures) return;
    }
  }
}

}  // namespace

int main() {
  for_each_isa([](cpu::Isa) {
    for (const bool vnni : {true, false}) {
      cpu::set_vnni(vnni);
      for (const Size& s : kSizes) {
        for (const bool ends : {false, true}) matches_double(s, ends);
      }
    }
  });
  return result();
}
