// Stage 2: blocks of quantized rows times a panel of the weight. A group's codes are unpacked
// in registers and multiplied with all rows of the block, then its sums are scaled and added to those of the
// groups before.

// Rows whose sums, integer and float, fit in the registers beside a vector of b.
template <bool kVnni>
constexpr int few_bit_rows() {
  return GK_ISA_WIDTH == 16  ? (kVnni ? 6 : 5)
         : GK_ISA_WIDTH == 8 ? (kVnni ? 6 : 4)
         : GK_ISA_WIDTH == 4 ? 4
                             : 2;
}
constexpr int kFewBitVecs = GK_ISA_WIDTH == 16 || GK_ISA_WIDTH == 4 ? 2 : 1;  // of columns at a time
constexpr int kFewBitColumns = kFewBitVecs * Vec<float>::kWidth;
// Bytes of the weight fetched ahead on its first way past the rows: 0.83 -> 0.66 ms at 1 x 4096 x 4096 from
// memory, and as much with 1 to 16 KiB (a Xeon of family 6, model 207, 1 thread).
constexpr int64_t kFewBitAhead = 4096;

// Adds the products of a word of codes of each column, from field kField on, with rows of a at `at`.
template <int kField, bool kVnni, typename Codes, int kRows, int kChains>
GK_INLINE void add_fields(const Codes& codes, const uint8_t* word, const int8_t* const (&a)[kRows],
                          int64_t at, int j, Ints (&sum)[kRows][kFewBitVecs][kChains]) {
  const Quads quad = codes.template quad<kField>(word);
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i) {
    Ints& chain = sum[i][j][kField % kChains];
    chain = dot_quads<kVnni>(chain, quad, a[i] + at + 4 * kField);
  }
  if constexpr (kField + 1 < 8 / Codes::kBits) add_fields<kField + 1, kVnni>(codes, word, a, at, j, sum);
}

// The float value of the sums is left in `total`, before the row's scale.
template <typename Codes, bool kVnni, int kRows, typename Shape>
void few_bit_block(const Shape& shape, const Codes& codes, const uint8_t* panel, int column, int64_t row,
                   const FewBitRows& rows, bool fetches, Vec<float> (&total)[kRows][kFewBitVecs]) {
  using V = Vec<float>;
  constexpr int kFields = 8 / Codes::kBits;  // quads of the depth in a word
  const int64_t groups = shape.groups(), group = shape.group;
  const int8_t* a[kRows];
  for (int i = 0; i < kRows; ++i) a[i] = rows.values + (row + i) * groups * group;
#pragma GCC unroll 6
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < kFewBitVecs; ++j) total[i][j] = V::broadcast(0);

  for (int64_t g = 0; g < groups; ++g, panel += shape.group_bytes()) {
    constexpr int kChains = kRows <= 2 ? 2 : 1;  // few rows: two chains a sum hide the latency of each
    Ints sum[kRows][kFewBitVecs][kChains];
#pragma GCC unroll 6
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < kFewBitVecs; ++j) {
        sum[i][j][kChains - 1] = Ints::broadcast(0);
        sum[i][j][0] = Ints::broadcast(rows.starts[(row + i) * groups + g]);
      }

    const uint8_t* word = panel + 2 * kFewBitPanel + 4 * column;
    for (int64_t d = 0; d < group; d += 4 * kFields, word += 4 * kFewBitPanel) {
      if (fetches) {
        __builtin_prefetch(word + kFewBitAhead);
        __builtin_prefetch(word + kFewBitAhead + 64);
      }
#pragma GCC unroll 2
      for (int j = 0; j < kFewBitVecs; ++j) {
        add_fields<0, kVnni>(codes, word + 4 * V::kWidth * j, a, g * group + d, j, sum);
      }
    }
    const auto* scales = reinterpret_cast<const BFloat16*>(panel) + column;
#pragma GCC unroll 2
    for (int j = 0; j < kFewBitVecs; ++j) {
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
template <typename Args>
GK_INLINE Vec<float> few_bit_slope(const Args& args, int64_t column, int64_t count) {
  if (args.activation_params == 0) return Vec<float>::broadcast(0);
  if (args.activation_params == 1) return Vec<float>::broadcast(args.activation_param[0]);
  return Vec<float>::load_n(args.activation_param + column, count);
}

// Rows [row, row + kRows) of one panel.
template <typename Codes, bool kVnni, int kRows>
void few_bit_rows_of_panel(const typename Codes::GemmArgs& args, int64_t index, int64_t row,
                           const FewBitRows& rows) {
  using V = Vec<float>;
  const auto& shape = args.shape;
  const Codes codes = Codes::of(args.packed);
  const uint8_t* panel = args.packed + Codes::kHead + index * shape.panel_bytes();
  const auto* sums = reinterpret_cast<const float*>(panel + shape.groups() * shape.group_bytes());
  for (int c = 0; c < kFewBitPanel; c += kFewBitColumns) {
    V total[kRows][kFewBitVecs];
    few_bit_block<Codes, kVnni, kRows>(shape, codes, panel, c, row, rows, c == 0 && row == 0, total);
#pragma GCC unroll 2
    for (int j = 0; j < kFewBitVecs; ++j) {
      const int64_t at = c + j * V::kWidth, column = index * kFewBitPanel + at, count = shape.n - column;
      if (count <= 0) return;
      const V of_row = V::load(sums + at), slope = few_bit_slope(args, column, count);
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
template <typename Codes, bool kVnni, int kRows>
void few_bit_rows_of_panel(const typename Codes::GemmArgs& args, int64_t index, int64_t row, int64_t count,
                           const FewBitRows& rows) {
  if constexpr (kRows > 1) {
    if (count < kRows) return few_bit_rows_of_panel<Codes, kVnni, kRows - 1>(args, index, row, count, rows);
  }
  few_bit_rows_of_panel<Codes, kVnni, kRows>(args, index, row, rows);
}

// The panels [begin, end), each past all rows, which are cut into blocks that differ by at most a row.
template <typename Codes, bool kVnni>
void few_bit_panels(const typename Codes::GemmArgs& args, int64_t begin, int64_t end,
                    const FewBitRows& rows) {
  constexpr int kRows = few_bit_rows<kVnni>();
  const int64_t blocks = (args.m + kRows - 1) / kRows;
  for (int64_t index = begin; index < end; ++index) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = args.m * block / blocks, past = args.m * (block + 1) / blocks;
      few_bit_rows_of_panel<Codes, kVnni, kRows>(args, index, first, past - first, rows);
    }
  }
}
