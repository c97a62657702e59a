// Strassen's seven products, and those of several levels as their Kronecker powers.
#include "cpu/strassen_gemm/scheme.h"

namespace greenkernels::cpu {

namespace {

// M1 .. M7 of the paper. b is stored transposed, so the block B_dj of the paper is row j, column d here.
const std::vector<StrassenProduct>& one_level() {
  static const std::vector<StrassenProduct> products = {
      {{{0, 0, 1}, {1, 1, 1}}, {{0, 0, 1}, {1, 1, 1}}, {{0, 0, 1}, {1, 1, 1}}},
      {{{1, 0, 1}, {1, 1, 1}}, {{0, 0, 1}}, {{1, 0, 1}, {1, 1, -1}}},
      {{{0, 0, 1}}, {{1, 0, 1}, {1, 1, -1}}, {{0, 1, 1}, {1, 1, 1}}},
      {{{1, 1, 1}}, {{0, 1, 1}, {0, 0, -1}}, {{0, 0, 1}, {1, 0, 1}}},
      {{{0, 0, 1}, {0, 1, 1}}, {{1, 1, 1}}, {{0, 0, -1}, {0, 1, 1}}},
      {{{1, 0, 1}, {0, 0, -1}}, {{0, 0, 1}, {1, 0, 1}}, {{1, 1, 1}}},
      {{{0, 1, 1}, {1, 1, -1}}, {{0, 1, 1}, {1, 1, 1}}, {{0, 0, 1}}},
  };
  return products;
}

std::vector<StrassenTerm> kronecker(const std::vector<StrassenTerm>& outer,
                                    const std::vector<StrassenTerm>& inner, int inner_blocks) {
  std::vector<StrassenTerm> terms;
  for (const StrassenTerm& o : outer) {
    for (const StrassenTerm& i : inner) {
      terms.push_back({o.row * inner_blocks + i.row, o.column * inner_blocks + i.column, o.sign * i.sign});
    }
  }
  return terms;
}

}  // namespace

std::vector<StrassenProduct> strassen_scheme(int levels) {
  if (levels == 0) return {{{{0, 0, 1}}, {{0, 0, 1}}, {{0, 0, 1}}}};
  const std::vector<StrassenProduct> inner = strassen_scheme(levels - 1);
  const int blocks = 1 << (levels - 1);
  std::vector<StrassenProduct> products;
  for (const StrassenProduct& o : one_level()) {
    for (const StrassenProduct& i : inner) {
      products.push_back(
          {kronecker(o.a, i.a, blocks), kronecker(o.b, i.b, blocks), kronecker(o.out, i.out, blocks)});
    }
  }
  return products;
}

}  // namespace greenkernels::cpu
