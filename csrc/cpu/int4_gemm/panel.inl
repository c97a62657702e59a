// Stage 2 of int4_gemm: blocks of quantized rows times a panel of the weight. A group's integers are unpacked
// in registers and multiplied with all rows of the block, then its sums are scaled and added to those of the
// groups before.

// Rows whose sums, integer and float, fit in the registers beside a vector of b.
template <bool kVnni>
constexpr int int4_rows() {
  return GK_ISA_WIDTH == 16 ? (kVnni ? 6 : 5) : GK_ISA_WIDTH == 8 ? (kVnni ? 6 : 4) : 2;
}
constexpr int kInt4Vecs = GK_ISA_WIDTH == 16 ? 2 : 1;  // of columns at a time
constexpr int kInt4Columns = kInt4Vecs * Vec<float>::kWidth;
// Bytes of the weight fetched ahead on its first way past the rows: 0.83 -> 0.66 ms at 1 x 4096 x 4096 from
// memory, and as much with 1 to 16 KiB (a Xeon of family 6, model 207, 1 thread).
constexpr int64_t kInt4Ahead = 4096;

// The float value of the sums is left in `total`, before the row's scale.
template <bool kVnni, int kRows>
void int4_block(const Int4Weight& shape, const uint8_t* panel, int column, int64_t row, const Int4Rows& rows,
                bool fetches, Vec<float> (&total)[kRows][kInt4Vecs]) {
  using V = Vec<float>;
  const int64_t groups = shape.groups(), group = shape.group;
  const int8_t* a[kRows];
  for (int i = 0; i < kRows; ++i) a[i] = rows.values + (row + i) * groups * group;
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < kInt4Vecs; ++j) total[i][j] = V::broadcast(0);

  for (int64_t g = 0; g < groups; ++g, panel += shape.group_bytes()) {
    constexpr int kChains = kRows <= 2 ? 2 : 1;  // few rows: two chains a sum hide the latency of each
    Ints sum[kRows][kInt4Vecs][kChains];
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kInt4Vecs; ++j) {
        sum[i][j][kChains - 1] = Ints::broadcast(0);
        sum[i][j][0] = Ints::broadcast(rows.starts[(row + i) * groups + g]);
      }

    const uint8_t* octet = panel + 2 * kInt4Panel + 4 * column;
    for (int64_t d = 0; d < group; d += 8, octet += 4 * kInt4Panel) {
      if (fetches) {
        __builtin_prefetch(octet + kInt4Ahead);
        __builtin_prefetch(octet + kInt4Ahead + 64);
      }
#pragma GCC unroll 2
      for (int j = 0; j < kInt4Vecs; ++j) {
        const Quads low = low_quads(octet + 4 * V::kWidth * j), high = high_quads(octet + 4 * V::kWidth * j);
#pragma GCC unroll 6
        for (int i = 0; i < kRows; ++i) {
          const int8_t* const octet_of_a = a[i] + g * group + d;
          Ints &even = sum[i][j][0], &odd = sum[i][j][kChains - 1];
          even = dot_quads<kVnni>(even, low, octet_of_a);
          odd = dot_quads<kVnni>(odd, high, octet_of_a + 4);
        }
      }
    }
    const auto* scales = reinterpret_cast<const BFloat16*>(panel) + column;
#pragma GCC unroll 2
    for (int j = 0; j < kInt4Vecs; ++j) {
      const V scale = load_elements(scales + j * V::kWidth);
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) {
        const Ints whole = kChains == 1 ? sum[i][j][0] : sum[i][j][0] + sum[i][j][kChains - 1];
        total[i][j] = fma(to_float(whole), scale, total[i][j]);
      }
    }
  }
}

// The slope of the activation for kWidth columns from `column` on, of which `count` exist.
GK_INLINE Vec<float> int4_slope(const Int4GemmArgs& args, int64_t column, int64_t count) {
  if (args.activation_params == 0) return Vec<float>::broadcast(0);
  if (args.activation_params == 1) return Vec<float>::broadcast(args.activation_param[0]);
  return Vec<float>::load_n(args.activation_param + column, count);
}

// Rows [row, row + kRows) of one panel.
template <bool kVnni, int kRows>
void int4_rows_of_panel(const Int4GemmArgs& args, int64_t index, int64_t row, const Int4Rows& rows) {
  using V = Vec<float>;
  const Int4Weight& shape = args.shape;
  const uint8_t* panel = args.packed + index * shape.panel_bytes();
  const auto* sums = reinterpret_cast<const float*>(panel + shape.groups() * shape.group_bytes());
  for (int c = 0; c < kInt4Panel; c += kInt4Columns) {
    V total[kRows][kInt4Vecs];
    int4_block<kVnni, kRows>(shape, panel, c, row, rows, c == 0 && row == 0, total);
#pragma GCC unroll 2
    for (int j = 0; j < kInt4Vecs; ++j) {
      const int64_t at = c + j * V::kWidth, column = index * kInt4Panel + at, count = shape.n - column;
      if (count <= 0) return;
      const V of_row = V::load(sums + at), slope = int4_slope(args, column, count);
      const V bias = args.bias ? V::load_n(args.bias + column, count) : V::broadcast(0);
#pragma GCC unroll 6
      for (int i = 0; i < kRows; ++i) {
        const V centred = fnma(V::broadcast(rows.zero[row + i]), of_row, total[i][j]);
        const V value = fma(centred, V::broadcast(rows.scale[row + i]), bias);
        activate(args.activation, value, slope).store_n(args.out + (row + i) * shape.n + column, count);
      }
    }
  }
}

// The same for `count` rows, 1 <= count <= kRows.
template <bool kVnni, int kRows>
void int4_rows_of_panel(const Int4GemmArgs& args, int64_t index, int64_t row, int64_t count,
                        const Int4Rows& rows) {
  if constexpr (kRows > 1) {
    if (count < kRows) return int4_rows_of_panel<kVnni, kRows - 1>(args, index, row, count, rows);
  }
  int4_rows_of_panel<kVnni, kRows>(args, index, row, rows);
}

// The panels [begin, end), each past all rows, which are cut into blocks that differ by at most a row.
template <bool kVnni>
void int4_panels(const Int4GemmArgs& args, int64_t begin, int64_t end, const Int4Rows& rows) {
  constexpr int kRows = int4_rows<kVnni>();
  const int64_t blocks = (args.m + kRows - 1) / kRows;
  for (int64_t index = begin; index < end; ++index) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = args.m * block / blocks, past = args.m * (block + 1) / blocks;
      int4_rows_of_panel<kVnni, kRows>(args, index, first, past - first, rows);
    }
  }
}
