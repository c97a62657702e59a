// Sums of products of 8-bit integers: what each instruction set has for them. Include cpu/int8_convert.inl
// before.
//
// Dot<kVnni> holds the register block of the micro-kernel: kRows rows by kColumns columns, in kVecs sums a
// row, and the Element that rows of a are made of. Without vpdpbusd products are made of 16-bit integers
// (vpmaddwd), all of which fit: vpmaddubsw would saturate, since 2 * 255 * 127 > 32767. NEON multiplies
// signed by signed integers, with SDOT or (kVnni false) without: there elements are 128 lower than values.

template <bool kVnni>
struct Dot;

#if GK_ISA_WIDTH == 1

template <bool kVnni>
struct Dot {
  using Element = uint8_t;
  using Sum = int32_t;
  using A = const uint8_t*;
  using B = const int8_t*;
  static constexpr int kRows = 4, kVecs = 4, kColumns = 4;
  static GK_INLINE Sum zero() { return 0; }
  static GK_INLINE A load_a(const Element* p) { return p; }
  static GK_INLINE B load_b(const int8_t* p, int j) { return p + 4 * j; }
  static GK_INLINE void step(Sum& sum, A a, B b) {
    sum += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
  }
};

// The sums of columns j * Vec<float>::kWidth and up.
template <bool kVnni>
GK_INLINE Ints column_sums(const int32_t (&sum)[Dot<kVnni>::kVecs], int j) {
  return {sum[j]};
}

#elif GK_ISA_WIDTH == 4

// 8 x 2 sums leave 8 registers for as many rows of four quads and 8 for b.
template <>
struct Dot<true> {
  using Element = int8_t;
  using Sum = int32x4_t;
  using A = int8x16_t;
  using B = int8x16_t;
  static constexpr int kRows = 8, kVecs = 2, kColumns = 8;
  static GK_INLINE Sum zero() { return vdupq_n_s32(0); }
  static GK_INLINE A load_a(const Element* p) { return load_quad(p); }
  static GK_INLINE A load_quads(const Element* p) { return vld1q_s8(p); }
  static GK_INLINE B load_b(const int8_t* p, int j) { return vld1q_s8(p + 16 * j); }
  static GK_INLINE void step(Sum& sum, A a, B b, int quad = 0) { add_dot(sum, b, a, quad); }
};

// Pairs of products in 32 bits: two sums of each of four columns, of the first and the last two products of a
// quad. Pairs are not added up in 16 bits first, since 2 * 128 * 128 > 32767.
struct PairSums {
  int32x4_t low, high;  // of columns 0 and 1; of columns 2 and 3
};

// 4 x 4 sums leave 16 registers for products.
template <>
struct Dot<false> {
  using Element = int8_t;
  using Sum = PairSums;
  using A = int8x16_t;
  using B = int8x16_t;
  static constexpr int kRows = 4, kVecs = 2, kColumns = 8;
  static GK_INLINE Sum zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  static GK_INLINE A load_a(const Element* p) { return load_quad(p); }
  static GK_INLINE B load_b(const int8_t* p, int j) { return vld1q_s8(p + 16 * j); }
  static GK_INLINE void step(Sum& sum, A a, B b) {
    sum.low = vpadalq_s16(sum.low, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    sum.high = vpadalq_s16(sum.high, vmull_high_s8(a, b));
  }
};

template <bool kVnni>
GK_INLINE Ints column_sums(const int32x4_t (&sum)[2], int j) {
  return {sum[j]};
}
template <bool kVnni>
GK_INLINE Ints column_sums(const PairSums (&sum)[2], int j) {
  return {vpaddq_s32(sum[j].low, sum[j].high)};
}

#elif GK_ISA_WIDTH == 8

// vpdpbusd is written out, since gcc 12 copies the accumulator of its intrinsic, and spills it, on every
// step.
template <>
struct Dot<true> {
  using Element = uint8_t;
  using Sum = __m256i;
  using A = __m256i;
  using B = __m256i;
  static constexpr int kRows = 6, kVecs = 2, kColumns = 16;
  static GK_INLINE Sum zero() { return _mm256_setzero_si256(); }
  static GK_INLINE A load_a(const Element* p) {
    int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return _mm256_set1_epi32(quad);
  }
  static GK_INLINE B load_b(const int8_t* p, int j) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * j));
  }
  static GK_INLINE void step(Sum& sum, A a, B b) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  }
};

// A sum holds two of each of four columns, of the first and the last two products of a quad.
template <>
struct Dot<false> {
  using Element = int16_t;
  using Sum = __m256i;
  using A = __m256i;
  using B = __m256i;
  static constexpr int kRows = 6, kVecs = 2, kColumns = 8;
  static GK_INLINE Sum zero() { return _mm256_setzero_si256(); }
  static GK_INLINE A load_a(const Element* p) {
    int64_t quad;
    __builtin_memcpy(&quad, p, 8);
    return _mm256_set1_epi64x(quad);
  }
  static GK_INLINE B load_b(const int8_t* p, int j) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * j)));
  }
  static GK_INLINE void step(Sum& sum, A a, B b) { sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
};

template <bool kVnni>
GK_INLINE Ints column_sums(const __m256i (&sum)[2], int j) {
  if (kVnni) return {sum[j]};
  // Per half: columns 0, 1 of the first vector, then of the second.
  return {_mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[0], sum[1]), 0xD8)};
}

#else

// 10 rows, not the 14 that fit in the registers: a block of 1024 of the depth and a panel then leave room in
// L1 (48 KiB), and a block of the output has fewer lines than a set of it where rows lie 4 KiB apart. Over 14
// rows 1.02x at 1024 x 1024 x 1024 and at 1024 x 1024 x 2048, 1.01x at 4096 x 4096 x 4096; 9 to 12 rows are
// within 1 % of each other (a Xeon of family 6, model 207, 1 thread).
template <>
struct Dot<true> {
  using Element = uint8_t;
  using Sum = __m512i;
  using A = __m512i;
  using B = __m512i;
  static constexpr int kRows = 10, kVecs = 2, kColumns = 32;
  static GK_INLINE Sum zero() { return _mm512_setzero_si512(); }
  static GK_INLINE A load_a(const Element* p) {
    int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return _mm512_set1_epi32(quad);
  }
  static GK_INLINE B load_b(const int8_t* p, int j) { return _mm512_loadu_si512(p + 64 * j); }
  static GK_INLINE void step(Sum& sum, A a, B b) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b)); }
};

// 12 rows leave 8 registers for b, a and the products before they are added.
template <>
struct Dot<false> {
  using Element = int16_t;
  using Sum = __m512i;
  using A = __m512i;
  using B = __m512i;
  static constexpr int kRows = 12, kVecs = 2, kColumns = 16;
  static GK_INLINE Sum zero() { return _mm512_setzero_si512(); }
  static GK_INLINE A load_a(const Element* p) {
    int64_t quad;
    __builtin_memcpy(&quad, p, 8);
    return _mm512_set1_epi64(quad);
  }
  static GK_INLINE B load_b(const int8_t* p, int j) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * j)));
  }
  static GK_INLINE void step(Sum& sum, A a, B b) { sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
};

template <bool kVnni>
GK_INLINE Ints column_sums(const __m512i (&sum)[2], int j) {
  if (kVnni) return {sum[j]};
  const __m512 first = _mm512_castsi512_ps(sum[0]), second = _mm512_castsi512_ps(sum[1]);
  // Per quarter: columns 0, 1 of the first vector, then of the second.
  const __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(first, second, 0x88));
  const __m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(first, second, 0xDD));
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  return {_mm512_permutexvar_epi64(order, _mm512_add_epi32(even, odd))};
}

#endif

// By how much elements are lower than the values they stand for.
template <bool kVnni>
inline constexpr int32_t kLowered = std::is_same_v<typename Dot<kVnni>::Element, int8_t> ? 128 : 0;

// Quads of a row that one load brings.
template <bool kVnni>
inline constexpr int kDotQuads = kVnni && GK_ISA_WIDTH == 4 ? 4 : 1;
