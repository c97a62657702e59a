// half_gemm of one instruction set for few rows: blocks of rows times a panel of the weight, which is widened
// in registers.
#include "cpu/activation.inl"
#include "cpu/map_elements.inl"

// Rows and vectors of columns whose sums fit in the registers beside a row of the panel.
inline constexpr int kHalfRows = GK_ISA_WIDTH == 16 ? 8 : GK_ISA_WIDTH == 8 ? 6 : 2;
inline constexpr int kHalfVecs = GK_ISA_WIDTH == 1 ? 4 : 2;
inline constexpr int kHalfBlocks = 2;  // of rows: from three on sgemm is faster
// Depths of a panel that are fetched ahead on its first way past rows, 4 KiB into L2 and 512 bytes into L1:
// one row, 4096 x 4096 from memory, small and huge pages: 2.65 and 2.48 ms, 4 KiB into L1 at once 3.04
// and 2.61, reading alone 2.45 and 2.20 (a Xeon of family 6, model 207, 1 thread).
inline constexpr int64_t kHalfFar = 64, kHalfNear = 8;

// Chains of sums that hide the latency of a multiply-add: at least 8 in all.
template <int kRows>
constexpr int half_chains() {
  return kRows == 1 ? 4 : kRows <= 3 ? 2 : 1;
}

// sum += a[row][d] * b, which holds the panel's columns at that depth.
template <typename S, int kRows>
GK_INLINE void add_depth(const S* b, const float* const (&a)[kRows], int64_t d,
                         Vec<float> (&sum)[kRows][kHalfVecs]) {
  Vec<float> wide[kHalfVecs];
#pragma GCC unroll 4
  for (int j = 0; j < kHalfVecs; ++j) wide[j] = load_elements(b + j * Vec<float>::kWidth);
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    const Vec<float> value = Vec<float>::broadcast(a[i][d]);
#pragma GCC unroll 4
    for (int j = 0; j < kHalfVecs; ++j) sum[i][j] = fma(value, wide[j], sum[i][j]);
  }
}

// The products of kRows rows with some columns of a panel; b: the first of them at depth 0.
template <typename S, int kRows>
GK_INLINE void half_block(const S* b, const float* const (&a)[kRows], int64_t k, bool fetches,
                          Vec<float> (&total)[kRows][kHalfVecs]) {
  constexpr int kChains = half_chains<kRows>();
  Vec<float> sum[kChains][kRows][kHalfVecs];
#pragma GCC unroll 4
  for (int c = 0; c < kChains; ++c)
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kHalfVecs; ++j) sum[c][i][j] = Vec<float>::broadcast(0);
  int64_t d = 0;
  for (; d + kChains <= k; d += kChains) {
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) {
      if (fetches) {
        __builtin_prefetch(b + (d + c + kHalfFar) * kHalfPanel, 0, 2);
        __builtin_prefetch(b + (d + c + kHalfNear) * kHalfPanel);
      }
      add_depth(b + (d + c) * kHalfPanel, a, d + c, sum[c]);
    }
  }
  for (; d < k; ++d) add_depth(b + d * kHalfPanel, a, d, sum[0]);
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kHalfVecs; ++j) {
      total[i][j] = sum[0][i][j];
#pragma GCC unroll 4
      for (int c = 1; c < kChains; ++c) total[i][j] = total[i][j] + sum[c][i][j];
    }
}

// The slope of the activation for kWidth columns from `column` on, of which `count` exist.
GK_INLINE Vec<float> half_slope(const HalfGemmArgs& args, int64_t column, int64_t count) {
  if (args.activation_params == 0) return Vec<float>::broadcast(0);
  if (args.activation_params == 1) return Vec<float>::broadcast(args.activation_param[0]);
  return Vec<float>::load_n(args.activation_param + column, count);
}

// Rows [row, row + kRows) of one panel.
template <typename S, int kRows>
void half_rows_of_panel(const HalfGemmArgs& args, int64_t index, int64_t row) {
  using V = Vec<float>;
  const HalfWeight& shape = args.shape;
  const S* panel = reinterpret_cast<const S*>(args.packed) + index * kHalfPanel * shape.k;
  const float* a[kRows];
  for (int i = 0; i < kRows; ++i) a[i] = args.a + (row + i) * shape.k;
  for (int64_t c = 0; c < kHalfPanel; c += kHalfVecs * V::kWidth) {
    V total[kRows][kHalfVecs];
    half_block<S, kRows>(panel + c, a, shape.k, c == 0 && row == 0, total);
#pragma GCC unroll 4
    for (int j = 0; j < kHalfVecs; ++j) {
      const int64_t column = index * kHalfPanel + c + j * V::kWidth, count = shape.n - column;
      if (count <= 0) return;
      const V slope = half_slope(args, column, count);
      const V bias = args.bias ? V::load_n(args.bias + column, count) : V::broadcast(0);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const V value = activate(args.activation, total[i][j] + bias, slope);
        value.store_n(args.out + (row + i) * shape.n + column, count);
      }
    }
  }
}

// The same for `count` rows, 1 <= count <= kRows.
template <typename S, int kRows>
void half_rows_of_panel(const HalfGemmArgs& args, int64_t index, int64_t row, int64_t count) {
  if constexpr (kRows > 1) {
    if (count < kRows) return half_rows_of_panel<S, kRows - 1>(args, index, row, count);
  }
  half_rows_of_panel<S, kRows>(args, index, row);
}

// The panels [begin, end), each past all rows, which are cut into blocks that differ by at most a row.
template <typename S>
void half_panels(const HalfGemmArgs& args, int64_t begin, int64_t end) {
  const int64_t blocks = (args.m + kHalfRows - 1) / kHalfRows;
  for (int64_t index = begin; index < end; ++index) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = args.m * block / blocks, past = args.m * (block + 1) / blocks;
      half_rows_of_panel<S, kHalfRows>(args, index, first, past - first);
    }
  }
}

inline HalfStages half_stages(HalfFormat format) {
  return {kHalfBlocks * kHalfRows,
          format == HalfFormat::kBFloat16 ? &half_panels<BFloat16> : &half_panels<Float16>};
}
