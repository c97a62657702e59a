// The values of a that a micro-kernel multiplies a row of b with: one k of kRows rows, kStep apart.
//
// Where instructions broadcast from memory at no cost nothing is kept. NEON has none that does, but
// multiplies by any lane of a register: so one load brings four values that lie side by side, which are four
// k of a row, or where columns are kept whole (kStep = 1) four rows of one k.

// sum += b * lane `lane` of a. Written out, since gcc 12 else copies sums from register to register.
GK_INLINE void add_lane(float32x4_t& sum, float32x4_t b, float32x4_t a, int lane) {
  if (lane == 0) asm("fmla %0.4s, %1.4s, %2.s[0]" : "+w"(sum) : "w"(b), "w"(a));
  if (lane == 1) asm("fmla %0.4s, %1.4s, %2.s[1]" : "+w"(sum) : "w"(b), "w"(a));
  if (lane == 2) asm("fmla %0.4s, %1.4s, %2.s[2]" : "+w"(sum) : "w"(b), "w"(a));
  if (lane == 3) asm("fmla %0.4s, %1.4s, %2.s[3]" : "+w"(sum) : "w"(b), "w"(a));
}

template <typename T, int kRows, int kStep>
struct RowValues {
  static constexpr bool kColumns = kStep == 1;
  static constexpr int kQuads = kColumns ? (kRows + 3) / 4 : kRows;
  float32x4_t quad[kQuads];

  // Step k of a chunk, whose values begin at a.
  GK_INLINE void load(const T* a, int k) {
    if (!kColumns && k % 4 != 0) return;
#pragma GCC unroll 16
    for (int i = 0; i < kQuads; ++i) quad[i] = vld1q_f32(a + i * (kColumns ? 4 : kStep));
  }
  // A step past the last whole chunk, to be added as step 0.
  GK_INLINE void load_one(const T* a) {
    if (kColumns) return load(a, 0);
#pragma GCC unroll 16
    for (int i = 0; i < kQuads; ++i) quad[i] = vld1q_lane_f32(a + i * kStep, vdupq_n_f32(0), 0);
  }
  // sum += value of the row at step k * b.
  template <int kVecs>
  GK_INLINE void add(int row, int k, const Vec<T> (&b)[kVecs], Vec<T> (&sum)[kVecs]) const {
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j)
      add_lane(sum[j].v, b[j].v, quad[kColumns ? row / 4 : row], kColumns ? row % 4 : k % 4);
  }
};
