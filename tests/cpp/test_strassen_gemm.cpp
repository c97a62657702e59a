// strassen_gemm against a naive product in double at every level, and the identity that its scheme stands
// for.
#include "api/strassen_gemm.h"

#include <cmath>
#include <map>
#include <tuple>

#include "check.h"
#include "cpu/strassen_gemm/apart.h"
#include "cpu/strassen_gemm/scheme.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

// The sum over products of (a terms) x (b terms) x (out terms) holds a(i, d) b(j, d) -> out(i, j) once each
// and nothing else.
void test_scheme_is_a_product(int levels) {
  std::map<std::tuple<int, int, int, int, int, int>, int> coefficients;
  const auto scheme = cpu::strassen_scheme(levels);
  GK_EXPECT(int64_t(scheme.size()) == strassen_products(levels), "%zu products", scheme.size());
  for (const cpu::StrassenProduct& p : scheme) {
    for (const auto& a : p.a)
      for (const auto& b : p.b)
        for (const auto& o : p.out)
          coefficients[{a.row, a.column, b.row, b.column, o.row, o.column}] += a.sign * b.sign * o.sign;
  }
  for (const auto& [at, value] : coefficients) {
    const auto [ai, ad, bj, bd, oi, oj] = at;
    const int expected = ai == oi && bj == oj && ad == bd;
    GK_EXPECT(value == expected, "a(%d, %d) b(%d, %d) -> out(%d, %d): %d", ai, ad, bj, bd, oi, oj, value);
  }
}

enum class Weight { kPlain, kPacked, kApart };  // the last: plain, levels with memory of their own

void check_case(int64_t m, int64_t n, int64_t k, int levels, Weight weight) {
  const bool packed = weight == Weight::kPacked;
  const auto a = random_normal<float>(m * k, 1), b = random_normal<float>(n * k, 2);
  const auto bias = random_normal<float>(n, 3), old = random_normal<float>(m * n, 4);
  std::vector<float> out = old, panels(strassen_packed_size(n, k, levels) + 16);
  float* aligned =
      panels.data() + (64 - reinterpret_cast<uintptr_t>(panels.data()) % 64) % 64 / sizeof(float);
  if (packed) cpu::strassen_gemm_pack(StrassenPackArgs<float>{{b.data(), aligned, k, 1, n, k}, levels});
  StrassenGemmArgs<float> args{};
  args.levels = levels;
  args.gemm.a = a.data(), args.gemm.a_row = k, args.gemm.a_depth = 1;
  args.gemm.b = b.data(), args.gemm.b_row = k, args.gemm.b_depth = 1;
  args.gemm.packed = packed ? aligned : nullptr;
  args.gemm.out = out.data(), args.gemm.out_row = n, args.gemm.batch = 1;
  args.gemm.m = m, args.gemm.n = n, args.gemm.k = k;
  if (weight == Weight::kApart) {
    args.gemm.beta = 0.5f, args.gemm.bias = bias.data();
    cpu::strassen_run(args, 0);
  } else {
    cpu::strassen_gemm(args);
  }
  // As for sgemm, times 4 for each level: the terms that cancel are that much larger.
  const double bound = 5 * 1.2e-7 * (double(k) + 12) * std::pow(4.0, levels);
  for (int64_t at = 0; at < m * n; ++at) {
    double sum = weight == Weight::kApart ? double(bias[at % n]) + 0.5 * double(old[at]) : 0;
    for (int64_t d = 0; d < k; ++d) sum += double(a[at / n * k + d]) * double(b[at % n * k + d]);
    const double error = std::fabs(double(out[at]) - sum);
    GK_EXPECT(error <= bound, "m %ld n %ld k %ld levels %d: error %g", long(m), long(n), long(k), levels,
              error);
  }
}

}  // namespace

int main() {
  for (int levels = 0; levels <= kMaxStrassenLevels; ++levels) {
    test_scheme_is_a_product(levels);
    for_each_isa([&](cpu::Isa) {
      for (const Weight weight : {Weight::kPlain, Weight::kPacked, Weight::kApart}) {
        check_case(1, 1, 1, levels, weight);
        check_case(37, 53, 61, levels, weight);
        check_case(64, 96, 600, levels, weight);
        check_case(20, 33, 1100, levels, weight);  // deeper than a block
      }
    });
  }
  return result();
}
