// Sums of products of 8-bit integers: what each instruction set has for them, and the conversions around
// them.
//
// Dot<kVnni> holds the register block of the micro-kernel: kRows rows by kColumns columns, in kVecs sums a
// row, and the Element that rows of a are made of. Without vpdpbusd products are made of 16-bit integers
// (vpmaddwd), all of which fit: vpmaddubsw would saturate, since 2 * 255 * 127 > 32767.

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

// Lanes of int32.
struct Ints {
  int32_t v;
  static GK_INLINE Ints broadcast(int32_t x) { return {x}; }
  static GK_INLINE Ints load(const int32_t* p) { return {*p}; }
  GK_INLINE void store(int32_t* p) const { *p = v; }
};
GK_INLINE Ints operator+(Ints a, Ints b) { return {int32_t(uint32_t(a.v) + uint32_t(b.v))}; }
GK_INLINE Ints operator-(Ints a, Ints b) { return {int32_t(uint32_t(a.v) - uint32_t(b.v))}; }
GK_INLINE Ints operator*(Ints a, Ints b) { return {int32_t(uint32_t(a.v) * uint32_t(b.v))}; }
GK_INLINE Vec<float> to_float(Ints a) { return {float(a.v)}; }

// The sums of columns j * Vec<float>::kWidth and up.
template <bool kVnni>
GK_INLINE Ints column_sums(const int32_t (&sum)[Dot<kVnni>::kVecs], int j) {
  return {sum[j]};
}

// Stores integral values of [0, 255].
template <typename Element>
GK_INLINE void store_quantized(Vec<float> v, Element* p) {
  *p = Element(v.v);
}
GK_INLINE void store_quantized_n(Vec<float> v, uint8_t* p, int64_t n) {
  if (n > 0) *p = uint8_t(v.v);
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

struct Ints {
  __m256i v;
  static GK_INLINE Ints broadcast(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static GK_INLINE Ints load(const int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  GK_INLINE void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};
GK_INLINE Ints operator+(Ints a, Ints b) { return {_mm256_add_epi32(a.v, b.v)}; }
GK_INLINE Ints operator-(Ints a, Ints b) { return {_mm256_sub_epi32(a.v, b.v)}; }
GK_INLINE Ints operator*(Ints a, Ints b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
GK_INLINE Vec<float> to_float(Ints a) { return {_mm256_cvtepi32_ps(a.v)}; }

template <bool kVnni>
GK_INLINE Ints column_sums(const __m256i (&sum)[2], int j) {
  if (kVnni) return {sum[j]};
  // Per half: columns 0, 1 of the first vector, then of the second.
  return {_mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[0], sum[1]), 0xD8)};
}

GK_INLINE __m128i to_int16(Vec<float> v) {
  const __m256i wide = _mm256_cvtps_epi32(v.v);
  return _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
}
GK_INLINE void store_quantized(Vec<float> v, uint8_t* p) {
  const __m128i words = to_int16(v);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
GK_INLINE void store_quantized(Vec<float> v, int16_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_int16(v));
}
GK_INLINE void store_quantized_n(Vec<float> v, uint8_t* p, int64_t n) {
  if (n >= 8) return store_quantized(v, p);
  uint8_t bytes[8];
  store_quantized(v, bytes);
  for (int64_t i = 0; i < n; ++i) p[i] = bytes[i];
}

#else

template <>
struct Dot<true> {
  using Element = uint8_t;
  using Sum = __m512i;
  using A = __m512i;
  using B = __m512i;
  static constexpr int kRows = 14, kVecs = 2, kColumns = 32;
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

struct Ints {
  __m512i v;
  static GK_INLINE Ints broadcast(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static GK_INLINE Ints load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  GK_INLINE void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
};
GK_INLINE Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
GK_INLINE Ints operator-(Ints a, Ints b) { return {_mm512_sub_epi32(a.v, b.v)}; }
GK_INLINE Ints operator*(Ints a, Ints b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
GK_INLINE Vec<float> to_float(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }

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

GK_INLINE void store_quantized(Vec<float> v, uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v.v)));
}
GK_INLINE void store_quantized(Vec<float> v, int16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v.v)));
}
GK_INLINE void store_quantized_n(Vec<float> v, uint8_t* p, int64_t n) {
  _mm_mask_storeu_epi8(p, Vec<float>::mask(n), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v.v)));
}

#endif

// The sum of the four integers of each of kWidth quads.
template <bool kVnni>
GK_INLINE Ints sums_of_quads(const int8_t* quads) {
  int32_t sums[Vec<float>::kWidth];
  for (int i = 0; i < Vec<float>::kWidth; ++i) {
    sums[i] = quads[4 * i] + quads[4 * i + 1] + quads[4 * i + 2] + quads[4 * i + 3];
  }
  return Ints::load(sums);
}

// clamp(round(x * inverse) + zero, 0, 255); a NaN becomes 0.
GK_INLINE Vec<float> quantize(Vec<float> x, Vec<float> inverse, Vec<float> zero) {
  const Vec<float> q = round(x * inverse) + zero;
  return min(max(q, Vec<float>::broadcast(0)), Vec<float>::broadcast(255));
}
