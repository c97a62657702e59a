// Stage 1: rows of a become signed 8-bit integers, and what their groups start from.

GK_INLINE void quantize_few_bit_row(const float* row, int64_t k, const Quantizer& by, int64_t depth,
                                    int8_t* to) {
  using V = Vec<float>;
  const V inverse = V::broadcast(by.inverse);
  const Ints zero = Ints::broadcast(int32_t(by.zero));
  uint8_t part[V::kWidth];
  for (int64_t d = 0; d < k; d += V::kWidth) {
    const int64_t left = k - d < V::kWidth ? k - d : V::kWidth;
    store_elements(quantize(V::load_n(row + d, left), inverse, zero), part);
    for (int64_t i = 0; i < left; ++i) to[d + i] = int8_t(part[i] ^ 0x80);
  }
  for (int64_t d = k; d < depth; ++d) to[d] = 0;
}

// Quantizes the rows [begin, end).
template <typename Codes>
void quantize_few_bit_rows(const typename Codes::GemmArgs& args, int64_t begin, int64_t end,
                           const FewBitRows& rows) {
  const int64_t k = args.shape.k, groups = args.shape.groups(), group = args.shape.group;
  for (int64_t i = begin; i < end; ++i) {
    int8_t* const values = rows.values + i * groups * group;
    const Quantizer by = quantizer_of(find_range(args.a + i * k, k));
    quantize_few_bit_row(args.a + i * k, k, by, groups * group, values);
    rows.scale[i] = by.scale;
    rows.zero[i] = by.zero - 128;
    for (int64_t g = 0; g < groups; ++g) {
      int32_t sum = 0;
      for (int64_t d = 0; d < group; ++d) sum += values[g * group + d];
      rows.starts[i * groups + g] = -Codes::kOffset * sum;
    }
  }
}
