// codebook_gemm against sums in double: ragged sizes, ends of the ranges, every way to sum products.
#include "api/codebook_gemm.h"

#include "check.h"
#include "cpu/codebook_gemm/byte_look_up.h"
#include "cpu/half.h"
#include "quantized_rows.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Size {
  int64_t m, n, k, group;
};

// Smallest, ragged, around rows of the micro-kernel, panel, word and group, nothing at all.
const Size kSizes[] = {{1, 1, 1, 32},     {1, 32, 64, 64},   {3, 5, 0, 64},
                       {0, 4, 8, 32},     {6, 33, 70, 32},   {7, 31, 129, 128},
                       {13, 65, 127, 64}, {2, 70, 1025, 64}, {5, 97, 1100, 1024}};

void matches_double(const Size& s, int64_t bits, bool ends) {
  std::mt19937 stream(7);
  const CodebookWeight shape{s.n, s.k, s.group, bits};
  const int64_t groups = shape.groups();
  const int entries = 1 << bits;
  const auto x = random_normal<float>(s.m * s.k, 8), bias = random_normal<float>(s.n, 9);
  const auto scale = random_normal<float>(s.n * groups, 10);
  std::vector<int8_t> table(entries);
  for (int8_t& value : table) value = int8_t(ends ? (stream() % 2 ? 63 : -64) : int(stream() % 128) - 64);
  std::vector<uint8_t> b(s.n * s.k);
  for (uint8_t& value : b) value = uint8_t(stream() % entries);
  const Aligned packed(shape.packed_bytes());
  cpu::codebook_gemm_pack({b.data(), table.data(), scale.data(), packed.data, shape});
  std::vector<float> out(s.m * s.n, -1);
  cpu::codebook_gemm(
      {x.data(), packed.data, bias.data(), Activation::kRelu, nullptr, 0, out.data(), s.m, shape});
  for (int64_t i = 0; i < s.m; ++i) {
    const Row row = quantized(x.data() + i * s.k, s.k);
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = 0, size = 0;
      for (int64_t d = 0; d < s.k; ++d) {
        const double w =
            double(cpu::to_float(cpu::to_bfloat16(scale[j * groups + d / s.group]))) * table[b[j * s.k + d]];
        sum += w * row.q[d];
        size += std::fabs(w) * (std::fabs(row.q[d] + row.zero - 128) + std::fabs(row.zero - 128));
      }
      const double expected = std::max(0.0, row.scale * sum + bias[j]);
      // Sums of rows and of groups are rounded once a group each; then the zero point, the scale, the bias.
      const double bound = double(2 * groups + 4) * 0x1p-24 * (row.scale * size + std::fabs(bias[j]));
      GK_EXPECT(std::fabs(out[i * s.n + j] - expected) <= bound, "%ld x %ld x %ld, %ld bits: %g, expected %g",
                long(s.m), long(s.n), long(s.k), long(bits), out[i * s.n + j], expected);
      if (failures) return;
    }
  }
}

}  // namespace

int main() {
  for_each_isa([](cpu::Isa) {
    for (const int had : {3, 2, 1, 0}) {  // bits: vpdpbusd, vpermb
      cpu::set_vnni(had & 1);
      cpu::set_vbmi(had & 2);
      for (const Size& s : kSizes) {
        for (const int64_t bits : {2, 4}) {
          for (const bool ends : {false, true}) matches_double(s, bits, ends);
        }
      }
    }
  });
  return result();
}
