// Packing of the weight: quads of its rows transposed into panels, and the sums of its rows.

// kWidth columns of a panel from kWidth rows of b that exist: whole vectors of quads, transposed. Returns how
// much of the depth that was.
GK_INLINE int64_t pack_columns(const int8_t* b, int64_t k, int8_t* packed) {
  constexpr int kWidth = Vec<float>::kWidth;
  int64_t depth = 0;
  for (; depth + 4 * kWidth <= k; depth += 4 * kWidth) {
    Vec<float> quads[kWidth];  // moved as floats, never computed with
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) {
      quads[i] = Vec<float>::load(reinterpret_cast<const float*>(b + i * k + depth));
    }
    transpose(quads);
#pragma GCC unroll 16
    for (int q = 0; q < kWidth; ++q) {
      quads[q].store(reinterpret_cast<float*>(packed + (depth / 4 + q) * kInt8Panel * 4));
    }
  }
  return depth;
}

// Columns [column, column + kWidth) of a panel of which the first `count` exist.
inline void pack_part(const int8_t* b, int64_t count, int64_t k, int8_t* packed) {
  constexpr int kWidth = Vec<float>::kWidth;
  const int64_t done = kWidth > 1 && count >= kWidth ? pack_columns(b, k, packed) : 0;
  for (int64_t d = done; d < (k + 3) / 4 * 4; ++d) {
    int8_t* to = packed + d / 4 * kInt8Panel * 4 + d % 4;
    for (int i = 0; i < kWidth; ++i) to[4 * i] = i < count && d < k ? b[i * k + d] : int8_t(0);
  }
}

// The sums of the columns of a packed panel: its product with a row of ones.
template <bool kVnni>
void sum_columns(const int8_t* packed, int64_t quads, int32_t* sums) {
  constexpr int64_t kStep = kInt8PanelSlice / 4;  // quads
  typename Dot<kVnni>::Element ones[kInt8PanelSlice];
  for (auto& one : ones) one = 1;
  for (int64_t c = 0; c < kInt8Panel; ++c) sums[c] = 0;
  for (int64_t q = 0; q < quads; q += kStep) {
    const int64_t count = quads - q < kStep ? quads - q : kStep;
    int8_micro<kVnni>(1)(ones, packed + q * kInt8Panel * 4, {sums, 0, nullptr}, sums, kInt8Panel, count,
                         Int8Fetch{});
  }
}

// Packs the panels [begin, end).
template <bool kVnni>
void pack_panels(const Int8PackArgs& args, int64_t begin, int64_t end) {
  constexpr int kWidth = Vec<float>::kWidth;
  const Int8Weight& shape = args.shape;
  for (int64_t panel = begin; panel < end; ++panel) {
    int8_t* packed = args.packed + panel * shape.panel_bytes();
    for (int64_t c = 0; c < kInt8Panel; c += kWidth) {
      const int64_t first = panel * kInt8Panel + c, left = shape.n - first;
      pack_part(args.b + (left > 0 ? first : 0) * shape.k, left, shape.k, packed + 4 * c);
    }
    sum_columns<kVnni>(packed, shape.quads(),
                       reinterpret_cast<int32_t*>(packed + shape.quads() * kInt8Panel * 4));
  }
}
