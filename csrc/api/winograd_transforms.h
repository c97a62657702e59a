// The three matrices of Winograd's F(m x m, 3 x 3) for m = 2, 4, 6, derived from the interpolation points by
// the compiler.
//
//   Y = A^T [ (G g G^T) * (B^T d B) ] A      d: input tile [alpha, alpha], g: filter [3, 3], Y: output tile
//   [m, m]
//
// alpha = m + 2, * is element-wise. tests/cpp/test_winograd_transforms.cpp proves the identity in exact
// rational arithmetic. Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
// 2016; the matrices follow the Toom-Cook construction with finite points p[0..m] and one point at infinity.
#pragma once

namespace greenkernels {

inline constexpr int kWinogradR = 3;  // filter size

// Finite interpolation points: 0 and pairs +-p. Every p is dyadic, so B^T and A^T are exact in float.
template <int m>
struct WinogradPoints;
template <>
struct WinogradPoints<2> {
  static constexpr double kPairs[1] = {1};
};
// Against the textbook +-1, +-2 these cut the error of a float convolution by a factor of 2 to 3 at the same
// cost.
template <>
struct WinogradPoints<4> {
  static constexpr double kPairs[2] = {0.75, 1.5};
};
template <>
struct WinogradPoints<6> {
  static constexpr double kPairs[3] = {1, 2, 0.5};
};

template <int m>
struct WinogradTransforms {
  static constexpr int kAlpha = m + kWinogradR - 1;
  double points[kAlpha - 1] = {};  // 0, +p0, -p0, +p1, -p1, ...
  double bt[kAlpha][kAlpha] = {};  // B^T: row i holds the coefficients of prod over j != i of (x - points[j])
  double g[kAlpha][kWinogradR] =
      {};  // G: row i holds powers of points[i] over prod over j != i of (points[i] - points[j])
  double at[m][kAlpha] = {};  // A^T: column i holds powers of points[i]

  constexpr WinogradTransforms() {
    for (int pair = 0; pair < m / 2; ++pair) {
      points[1 + 2 * pair] = WinogradPoints<m>::kPairs[pair];
      points[2 + 2 * pair] = -WinogradPoints<m>::kPairs[pair];
    }
    for (int row = 0; row < kAlpha; ++row) set_row(row);
  }

 private:
  // The last row is the point at infinity: it leaves out no factor, and its powers are 0 but for the highest.
  constexpr void set_row(int row) {
    const bool infinity = row == kAlpha - 1;
    double norm = 1;
    int degree = 0;
    bt[row][0] = 1;
    for (int j = 0; j < kAlpha - 1; ++j) {
      if (j == row) continue;
      ++degree;
      for (int k = degree; k > 0; --k) bt[row][k] = bt[row][k - 1] - points[j] * bt[row][k];
      bt[row][0] *= -points[j];
      if (!infinity) norm *= points[row] - points[j];
    }
    if (infinity) {
      g[row][kWinogradR - 1] = 1;
      at[m - 1][row] = 1;
      return;
    }
    double power = 1;
    for (int k = 0; k < kAlpha; ++k, power *= points[row]) {
      if (k < kWinogradR) g[row][k] = power / norm;
      if (k < m) at[k][row] = power;
    }
  }
};

template <int m>
inline constexpr WinogradTransforms<m> kWinograd{};

}  // namespace greenkernels
