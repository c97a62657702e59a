// One pass over float values for their range. Include cpu/int8_convert.inl before.

// Four chains hide the latency of each.
struct Ends {
  static constexpr int kChains = 4;
  Vec<float> high[kChains], low[kChains];
  Vec<float> poison[kChains];  // 0 * x: a NaN if x is one, or infinite

  GK_INLINE Ends() {
    const Vec<float> nothing = Vec<float>::broadcast(0);
    for (int j = 0; j < kChains; ++j) high[j] = low[j] = poison[j] = nothing;
  }
  GK_INLINE void see(Vec<float> x, int j) {
    high[j] = max(high[j], x);
    low[j] = min(low[j], x);
    poison[j] = fma(x, Vec<float>::broadcast(0), poison[j]);
  }
};

// The range of `count` values and 0.
GK_INLINE FloatRange find_range(const float* x, int64_t count) {
  using V = Vec<float>;
  constexpr int kWidth = V::kWidth, kChains = Ends::kChains;
  Ends ends;
  int64_t i = 0;
  for (; i + kChains * kWidth <= count; i += kChains * kWidth) {
#pragma GCC unroll 4
    for (int j = 0; j < kChains; ++j) ends.see(V::load(x + i + j * kWidth), j);
  }
  for (; i < count; i += kWidth) ends.see(V::load_n(x + i, count - i), 0);
#pragma GCC unroll 4
  for (int j = 1; j < kChains; ++j) {
    ends.high[0] = max(ends.high[0], ends.high[j]);
    ends.low[0] = min(ends.low[0], ends.low[j]);
    ends.poison[0] = ends.poison[0] + ends.poison[j];
  }
  return {highest(ends.high[0]), highest(V::broadcast(0) - ends.low[0]), !any_nan(ends.poison[0])};
}
