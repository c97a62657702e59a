// Products with few rows and a b that is not packed: to pack it would cost more than the product. b is read
// once, where it lies, in the direction with stride 1; sums gather in a buffer [row][column of the share].

inline constexpr int kFewRows = 4;

// Columns that are summed at once where rows of b are adjacent in the depth, and rows of the depth that are
// added at once where columns are: so many streams are read side by side.
inline constexpr int kDotColumns = 4, kAddDepths = 8;

template <typename T>
GK_INLINE T lane_sum(Vec<T> v) {
  T lanes[Vec<T>::kWidth], sum = 0;
  v.store(lanes);
  for (const T lane : lanes) sum += lane;
  return sum;
}

// sums[i][j] for j in [0, columns): dot products with the rows `column + j` of b.
template <typename T, int kRows>
void dot_rows(const SgemmProduct<T>& p, int64_t row, int64_t column, int64_t columns, T* sums,
              int64_t stride) {
  const T* a = p.a.terms[0].data + row * p.a.row_stride;
  for (int64_t j = 0; j < columns; j += kDotColumns) {
    const T* b[kDotColumns];
    Vec<T> sum[kRows][kDotColumns];
    for (int c = 0; c < kDotColumns; ++c) {
      const int64_t at = column + (j + c < columns ? j + c : columns - 1);  // a row too much is not used
      b[c] = p.b.terms[0].data + at * p.b.row_stride;
      for (int i = 0; i < kRows; ++i) sum[i][c] = Vec<T>::broadcast(0);
    }
    for (int64_t d = 0; d < p.k; d += Vec<T>::kWidth) {
      const int64_t left = p.k - d;
      const bool whole = left >= Vec<T>::kWidth;
      Vec<T> b_values[kDotColumns];
#pragma GCC unroll 4
      for (int c = 0; c < kDotColumns; ++c)
        b_values[c] = whole ? Vec<T>::load(b[c] + d) : Vec<T>::load_n(b[c] + d, left);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const T* at = a + i * p.a.row_stride + d;
        const Vec<T> a_value = whole ? Vec<T>::load(at) : Vec<T>::load_n(at, left);
#pragma GCC unroll 4
        for (int c = 0; c < kDotColumns; ++c) sum[i][c] = fma(a_value, b_values[c], sum[i][c]);
      }
    }
    for (int i = 0; i < kRows; ++i)
      for (int c = 0; c < kDotColumns && j + c < columns; ++c) sums[i * stride + j + c] = lane_sum(sum[i][c]);
  }
}

// The same where columns of b are adjacent: multiples of its depths are added to the sums.
template <typename T, int kRows>
void add_depths(const SgemmProduct<T>& p, int64_t row, int64_t column, int64_t columns, T* sums,
                int64_t stride) {
  const T* a = p.a.terms[0].data + row * p.a.row_stride;
  const T* b = p.b.terms[0].data + column;
  for (int64_t d0 = 0; d0 < p.k; d0 += kAddDepths) {
    const int64_t depths = p.k - d0 < kAddDepths ? p.k - d0 : kAddDepths;
    for (int64_t j = 0; j < columns; j += Vec<T>::kWidth) {
      const int64_t lanes = columns - j;
      const bool whole = lanes >= Vec<T>::kWidth;
      Vec<T> sum[kRows];
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i)
        sum[i] = d0 == 0 ? Vec<T>::broadcast(0) : Vec<T>::load_n(sums + i * stride + j, lanes);
      for (int64_t d = d0; d < d0 + depths; ++d) {
        const T* at = b + d * p.b.depth_stride + j;
        const Vec<T> b_value = whole ? Vec<T>::load(at) : Vec<T>::load_n(at, lanes);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i)
          sum[i] = fma(Vec<T>::broadcast(a[i * p.a.row_stride + d * p.a.depth_stride]), b_value, sum[i]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) sum[i].store_n(sums + i * stride + j, lanes);
    }
  }
}

template <typename T>
using FewRows = void (*)(const SgemmProduct<T>& p, int64_t row, int64_t column, int64_t columns, T* sums,
                         int64_t stride);

template <typename T, int kRows = kFewRows>
FewRows<T> few_rows(int64_t rows, bool adjacent_depth) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return few_rows<T, kRows - 1>(rows, adjacent_depth);
  }
  return adjacent_depth ? &dot_rows<T, kRows> : &add_depths<T, kRows>;
}

// Whether a share is one for the functions above: few rows of one plain product, which they can read.
template <typename T>
bool has_few_rows(const SgemmProduct<T>& p, const SgemmShare& share) {
  const SgemmTerm<T>&a = p.a.terms[0], &b = p.b.terms[0];
  const bool plain = !p.packed && !p.b.half && p.a.count == 1 && p.b.count == 1 && p.outs == 1 &&
                     p.out_column == 1 && p.k > 0;
  const bool whole = plain && a.rows == p.m && a.depth == p.k && b.rows == p.n && b.depth == p.k;
  return whole && share.row_end - share.row <= kFewRows && (p.b.depth_stride != 1 || p.a.depth_stride == 1);
}
