// The parts of the peak loops that every instruction set has: float32 multiply-adds, and a sum over memory.

// Independent chains: two pipes of latency 4 need 8, and 12 still fit with both operands into the 16
// registers of AVX2.
inline constexpr int kFmaChains = 12;
inline constexpr int64_t kFmaSteps = 1024;  // of every chain in a round
inline constexpr int64_t kFmaOperations = 2 * Vec<float>::kWidth * kFmaChains * kFmaSteps;

// Each chain goes to offset / (1 - factor). What it comes to is returned, so that no step can be left out.
inline float fma_rounds(int64_t rounds, float factor, float offset) {
  const Vec<float> a = Vec<float>::broadcast(factor), b = Vec<float>::broadcast(offset);
  Vec<float> chain[kFmaChains];
#pragma GCC unroll 12
  for (int i = 0; i < kFmaChains; ++i) chain[i] = Vec<float>::broadcast(float(i));
  for (int64_t step = 0; step < rounds * kFmaSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kFmaChains; ++i) chain[i] = fma(chain[i], a, b);
  }
  Vec<float> sum = chain[0];
#pragma GCC unroll 12
  for (int i = 1; i < kFmaChains; ++i) sum = sum + chain[i];
  float lanes[Vec<float>::kWidth];
  sum.store(lanes);
  return lanes[0];
}

inline int64_t fma_operations() { return kFmaOperations; }

// The compiler makes vector loads of this level out of it. Four places at once keep more misses in flight
// than one: 14.7 -> 15.9 GB/s (a Xeon of family 6, model 207, 1 thread).
inline uint64_t sum_words(const uint64_t* data, int64_t count) {
  const int64_t quarter = count / 4;
  uint64_t sum = 0;
  for (int64_t i = 0; i < quarter; ++i) {
    sum += (data[i] + data[i + quarter]) + (data[i + 2 * quarter] + data[i + 3 * quarter]);
  }
  for (int64_t i = 4 * quarter; i < count; ++i) sum += data[i];
  return sum;
}
