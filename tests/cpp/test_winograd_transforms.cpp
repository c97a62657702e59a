// Proves in exact rational arithmetic that A^T [(G g) * (B^T d)] is the correlation of g and d for every tile
// size. The identity is bilinear, so it holds if it holds for all pairs of unit vectors; the 2-D transform
// nests it twice.
#include "api/winograd_transforms.h"

#include <cmath>
#include <numeric>

#include "check.h"

namespace {

using greenkernels::kWinograd;

struct Rational {
  __int128 num = 0, den = 1;
};

__int128 gcd(__int128 a, __int128 b) { return b == 0 ? (a < 0 ? -a : a) : gcd(b, a % b); }

Rational reduced(__int128 num, __int128 den) {
  const __int128 divisor = gcd(num, den) * (den < 0 ? -1 : 1);
  return {num / divisor, den / divisor};
}
Rational operator*(Rational a, Rational b) { return reduced(a.num * b.num, a.den * b.den); }
Rational operator/(Rational a, Rational b) { return reduced(a.num * b.den, a.den * b.num); }
Rational operator+(Rational a, Rational b) { return reduced(a.num * b.den + b.num * a.den, a.den * b.den); }
Rational operator-(Rational a, Rational b) { return a + Rational{-b.num, b.den}; }
bool operator==(Rational a, Rational b) { return a.num == b.num && a.den == b.den; }

// Exact: every double is a binary fraction; those used here have few bits.
Rational exact(double value) {
  __int128 den = 1;
  while (value != std::floor(value)) {
    value *= 2;
    den *= 2;
  }
  return reduced(__int128(value), den);
}

// G of the points in rationals, from the definition and not from the header's table.
template <int m>
Rational exact_g(int row, int k) {
  const auto& transforms = kWinograd<m>;
  if (row == m + 1) return {k == 2 ? 1 : 0, 1};
  Rational norm{1, 1}, power{1, 1};
  const Rational point = exact(transforms.points[row]);
  for (int j = 0; j < m + 1; ++j) {
    if (j != row) norm = norm * (point - exact(transforms.points[j]));
  }
  for (int i = 0; i < k; ++i) power = power * point;
  return power / norm;
}

template <int m>
void proves_identity() {
  const auto& transforms = kWinograd<m>;
  for (int out = 0; out < m; ++out) {
    for (int tap = 0; tap < 3; ++tap) {
      for (int in = 0; in < m + 2; ++in) {
        Rational sum;
        for (int row = 0; row < m + 2; ++row) {
          sum = sum + exact(transforms.at[out][row]) * exact_g<m>(row, tap) * exact(transforms.bt[row][in]);
        }
        const Rational expected{in == out + tap ? 1 : 0, 1};
        GK_EXPECT(sum == expected, "F(%d): output %d, filter %d, input %d", m, out, tap, in);
      }
    }
  }
}

template <int m>
void table_of_g_is_rounded_correctly() {
  for (int row = 0; row < m + 2; ++row) {
    for (int k = 0; k < 3; ++k) {
      const Rational g = exact_g<m>(row, k);
      const double expected = double(g.num) / double(g.den);
      GK_EXPECT(std::fabs(kWinograd<m>.g[row][k] - expected) <= std::fabs(expected) * 0x1p-51,
                "F(%d): G[%d][%d]", m, row, k);
    }
  }
}

template <int m>
void entries_are_exact_in_float() {
  const auto& transforms = kWinograd<m>;
  for (const auto& row : transforms.bt)
    for (const double entry : row) GK_EXPECT(double(float(entry)) == entry, "F(%d): B^T entry %g", m, entry);
  for (const auto& row : transforms.at)
    for (const double entry : row) GK_EXPECT(double(float(entry)) == entry, "F(%d): A^T entry %g", m, entry);
}

template <int m>
void check() {
  proves_identity<m>();
  table_of_g_is_rounded_correctly<m>();
  entries_are_exact_in_float<m>();
}

}  // namespace

int main() {
  check<2>();
  check<4>();
  check<6>();
  return greenkernels::test::result();
}
