// Between float32, int32 and 8-bit integers: Ints, the lanes of int32 beside Vec<float>, and quantization.

#if GK_ISA_WIDTH == 1

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

// clamp(round(x * inverse) + zero, 0, 255); a NaN becomes 0.
GK_INLINE Ints quantize(Vec<float> x, Vec<float> inverse, Ints zero) {
  const float q = std::nearbyint(x.v * inverse.v) + float(zero.v);
  return {q >= 255 ? 255 : q > 0 ? int32_t(q) : 0};
}

// Stores values of [0, 255].
template <typename Element>
GK_INLINE void store_elements(Ints v, Element* p) {
  *p = Element(v.v);
}
GK_INLINE void store_bytes_n(Ints v, uint8_t* p, int64_t n) {
  if (n > 0) *p = uint8_t(v.v);
}

// 64 elements of a row.
template <typename Element>
GK_INLINE void quantize_chunk(const float* x, Vec<float> inverse, Ints zero, Element* a) {
  for (int i = 0; i < 64; ++i) store_elements(quantize(Vec<float>::load(x + i), inverse, zero), a + i);
}

GK_INLINE float highest(Vec<float> v) { return v.v; }
GK_INLINE bool any_nan(Vec<float> v) { return v.v != v.v; }

#elif GK_ISA_WIDTH == 8

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

// clamp(round(x * inverse) + zero, 0, 255). Conversion makes the least integer, and so 0, of a NaN and of
// what is too low; the bound on the other side is any that int32 holds.
GK_INLINE Ints rounded(Vec<float> x, Vec<float> inverse) {
  return {_mm256_cvtps_epi32(min(Vec<float>::broadcast(0x1p20f), x * inverse).v)};
}
GK_INLINE Ints quantize(Vec<float> x, Vec<float> inverse, Ints zero) {
  const __m256i q = (rounded(x, inverse) + zero).v;
  return {_mm256_min_epi32(_mm256_max_epi32(q, _mm256_setzero_si256()), _mm256_set1_epi32(255))};
}

// Stores values of [0, 255].
GK_INLINE __m128i to_int16(Ints v) {
  return _mm_packs_epi32(_mm256_castsi256_si128(v.v), _mm256_extracti128_si256(v.v, 1));
}
GK_INLINE void store_elements(Ints v, uint8_t* p) {
  const __m128i words = to_int16(v);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
GK_INLINE void store_elements(Ints v, int16_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_int16(v));
}
GK_INLINE void store_bytes_n(Ints v, uint8_t* p, int64_t n) {
  if (n >= 8) return store_elements(v, p);
  uint8_t bytes[8];
  store_elements(v, bytes);
  for (int64_t i = 0; i < n; ++i) p[i] = bytes[i];
}

// 64 elements of a row.
template <typename Element>
GK_INLINE void quantize_chunk(const float* x, Vec<float> inverse, Ints zero, Element* a) {
#pragma GCC unroll 8
  for (int i = 0; i < 64; i += 8) store_elements(quantize(Vec<float>::load(x + i), inverse, zero), a + i);
}

GK_INLINE float highest(Vec<float> v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v.v), _mm256_extractf128_ps(v.v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}
GK_INLINE bool any_nan(Vec<float> v) {
  return _mm256_movemask_ps(_mm256_cmp_ps(v.v, v.v, _CMP_UNORD_Q)) != 0;
}

#else

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

// clamp(round(x * inverse) + zero, 0, 255). Conversion makes the least integer, and so 0, of a NaN and of
// what is too low; the bound on the other side is any that int32 holds.
GK_INLINE Ints rounded(Vec<float> x, Vec<float> inverse) {
  return {_mm512_cvtps_epi32(min(Vec<float>::broadcast(0x1p20f), x * inverse).v)};
}
GK_INLINE Ints quantize(Vec<float> x, Vec<float> inverse, Ints zero) {
  const __m512i q = (rounded(x, inverse) + zero).v;
  return {_mm512_min_epi32(_mm512_max_epi32(q, _mm512_setzero_si512()), _mm512_set1_epi32(255))};
}

// Stores values of [0, 255].
GK_INLINE void store_elements(Ints v, uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v.v));
}
GK_INLINE void store_elements(Ints v, int16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v.v));
}
GK_INLINE void store_bytes_n(Ints v, uint8_t* p, int64_t n) {
  _mm_mask_storeu_epi8(p, Vec<float>::mask(n), _mm512_cvtepi32_epi8(v.v));
}

// 64 elements of a row. Packing saturates, twice, so nothing needs to be clamped before.
GK_INLINE void quantize_chunk(const float* x, Vec<float> inverse, Ints zero, uint8_t* a) {
  __m512i q[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) q[i] = (rounded(Vec<float>::load(x + 16 * i), inverse) + zero).v;
  const __m512i low = _mm512_packs_epi32(q[0], q[1]), high = _mm512_packs_epi32(q[2], q[3]);
  // Packing works within quarters: words 0, 4, 8, 12 now hold the first 16 bytes.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(a, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high)));
}
GK_INLINE void quantize_chunk(const float* x, Vec<float> inverse, Ints zero, int16_t* a) {
#pragma GCC unroll 4
  for (int i = 0; i < 64; i += 16) store_elements(quantize(Vec<float>::load(x + i), inverse, zero), a + i);
}

GK_INLINE float highest(Vec<float> v) { return _mm512_reduce_max_ps(v.v); }
GK_INLINE bool any_nan(Vec<float> v) { return _mm512_cmp_ps_mask(v.v, v.v, _CMP_UNORD_Q) != 0; }

#endif
