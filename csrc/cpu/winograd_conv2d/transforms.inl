// One-dimensional B^T and A^T of winograd_transforms.h, written out so that the rows of a pair of points +-p
// share their even and their odd part, in groups of rows small enough for the 2-D transform to stay in
// registers.
//
// For each m: InputTransform<m>::rows<group>(d, o) sets o[i] = row kRows[group][i] of B^T d, d [alpha];
//             OutputTransform<m>::rows<group>(p, o) sets o[i] = row kRows[group][i] of A^T p, p [alpha].

template <typename V>
GK_INLINE V times(double factor, V x) {
  return V::broadcast(factor) * x;
}
template <typename V>
GK_INLINE V plus_times(V sum, double factor, V x) {
  return fma(V::broadcast(factor), x, sum);
}
template <typename V>
GK_INLINE V minus_times(V sum, double factor, V x) {
  return fnma(V::broadcast(factor), x, sum);
}

template <int m>
struct InputTransform;
template <int m>
struct OutputTransform;

template <>
struct InputTransform<2> {
  static constexpr int kGroups = 2, kGroupRows = 2;
  static constexpr int kRows[2][2] = {{0, 1}, {2, 3}};
  template <int group, typename V>
  static GK_INLINE void rows(const V (&d)[4], V* o) {
    if constexpr (group == 0) {
      o[0] = d[2] - d[0];
      o[1] = d[2] + d[1];
    } else {
      o[0] = d[2] - d[1];
      o[1] = d[3] - d[1];
    }
  }
};

template <>
struct OutputTransform<2> {
  static constexpr int kGroups = 1, kGroupRows = 2;
  static constexpr int kRows[1][2] = {{0, 1}};
  template <int group, typename V>
  static GK_INLINE void rows(const V (&p)[4], V* o) {
    o[0] = p[0] + (p[1] + p[2]);
    o[1] = (p[1] - p[2]) + p[3];
  }
};

// Points 0, +-a, +-b, infinity.
template <>
struct InputTransform<4> {
  static constexpr int kGroups = 2, kGroupRows = 3;
  static constexpr int kRows[2][3] = {{0, 1, 2}, {3, 4, 5}};
  static constexpr double a = WinogradPoints<4>::kPairs[0], b = WinogradPoints<4>::kPairs[1];
  template <int group, typename V>
  static GK_INLINE void rows(const V (&d)[6], V* o) {
    if constexpr (group == 0) {
      o[0] = plus_times(minus_times(d[4], a * a + b * b, d[2]), a * a * b * b, d[0]);
      pair(d, a, b, o + 1);
    } else {
      pair(d, b, a, o);
      o[2] = plus_times(minus_times(d[5], a * a + b * b, d[3]), a * a * b * b, d[1]);
    }
  }

 private:
  // Rows of the points +-p; q is the other pair. Even part x^4 - q^2 x^2, odd part p (x^3 - q^2 x).
  template <typename V>
  static GK_INLINE void pair(const V (&d)[6], double p, double q, V* o) {
    const V even = minus_times(d[4], q * q, d[2]), odd = minus_times(d[3], q * q, d[1]);
    o[0] = plus_times(even, p, odd);
    o[1] = minus_times(even, p, odd);
  }
};

template <>
struct OutputTransform<4> {
  static constexpr int kGroups = 2, kGroupRows = 2;
  static constexpr int kRows[2][2] = {{0, 2}, {1, 3}};  // even powers, odd powers
  static constexpr double a = WinogradPoints<4>::kPairs[0], b = WinogradPoints<4>::kPairs[1];
  template <int group, typename V>
  static GK_INLINE void rows(const V (&p)[6], V* o) {
    if constexpr (group == 0) {
      const V sum_a = p[1] + p[2], sum_b = p[3] + p[4];
      o[0] = p[0] + (sum_a + sum_b);
      o[1] = plus_times(times(a * a, sum_a), b * b, sum_b);
    } else {
      const V dif_a = p[1] - p[2], dif_b = p[3] - p[4];
      o[0] = plus_times(times(a, dif_a), b, dif_b);
      o[1] = plus_times(plus_times(p[5], a * a * a, dif_a), b * b * b, dif_b);
    }
  }
};

// Points 0, +-1, +-b, +-c, infinity.
template <>
struct InputTransform<6> {
  static constexpr int kGroups = 4, kGroupRows = 2;
  static constexpr int kRows[4][2] = {{0, 7}, {1, 2}, {3, 4}, {5, 6}};
  static constexpr double aa = WinogradPoints<6>::kPairs[0] * WinogradPoints<6>::kPairs[0],
                          bb = WinogradPoints<6>::kPairs[1] * WinogradPoints<6>::kPairs[1],
                          cc = WinogradPoints<6>::kPairs[2] * WinogradPoints<6>::kPairs[2];
  template <int group, typename V>
  static GK_INLINE void rows(const V (&d)[8], V* o) {
    if constexpr (group == 0) {
      o[0] = minus_times(plus_times(minus_times(d[6], aa + bb + cc, d[4]), aa * bb + aa * cc + bb * cc, d[2]),
                         aa * bb * cc, d[0]);
      o[1] = minus_times(plus_times(minus_times(d[7], aa + bb + cc, d[5]), aa * bb + aa * cc + bb * cc, d[3]),
                         aa * bb * cc, d[1]);
    } else if constexpr (group == 1) {
      pair(d, WinogradPoints<6>::kPairs[0], bb, cc, o);
    } else if constexpr (group == 2) {
      pair(d, WinogradPoints<6>::kPairs[1], aa, cc, o);
    } else {
      pair(d, WinogradPoints<6>::kPairs[2], aa, bb, o);
    }
  }

 private:
  // Rows of the points +-p; qq and rr are the squares of the other two pairs.
  template <typename V>
  static GK_INLINE void pair(const V (&d)[8], double p, double qq, double rr, V* o) {
    const V even = minus_times(plus_times(d[6], qq * rr, d[2]), qq + rr, d[4]);
    const V odd = minus_times(plus_times(d[5], qq * rr, d[1]), qq + rr, d[3]);
    o[0] = plus_times(even, p, odd);
    o[1] = minus_times(even, p, odd);
  }
};

template <>
struct OutputTransform<6> {
  static constexpr int kGroups = 2, kGroupRows = 3;
  static constexpr int kRows[2][3] = {{0, 2, 4}, {1, 3, 5}};
  static constexpr double b = WinogradPoints<6>::kPairs[1], c = WinogradPoints<6>::kPairs[2];
  static_assert(WinogradPoints<6>::kPairs[0] == 1);
  template <int group, typename V>
  static GK_INLINE void rows(const V (&p)[8], V* o) {
    if constexpr (group == 0) {
      const V sum_a = p[1] + p[2], sum_b = p[3] + p[4], sum_c = p[5] + p[6];
      o[0] = (p[0] + sum_a) + (sum_b + sum_c);
      o[1] = plus_times(plus_times(sum_a, b * b, sum_b), c * c, sum_c);
      o[2] = plus_times(plus_times(sum_a, b * b * b * b, sum_b), c * c * c * c, sum_c);
    } else {
      const V dif_a = p[1] - p[2], dif_b = p[3] - p[4], dif_c = p[5] - p[6];
      o[0] = plus_times(plus_times(dif_a, b, dif_b), c, dif_c);
      o[1] = plus_times(plus_times(dif_a, b * b * b, dif_b), c * c * c, dif_c);
      o[2] = plus_times(plus_times(dif_a + p[7], b * b * b * b * b, dif_b), c * c * c * c * c, dif_c);
    }
  }
};
