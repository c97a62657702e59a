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

#elif GK_ISA_WIDTH == 4

struct Ints {
  int32x4_t v;
  static GK_INLINE Ints broadcast(int32_t x) { return {vdupq_n_s32(x)}; }
  static GK_INLINE Ints load(const int32_t* p) { return {vld1q_s32(p)}; }
  GK_INLINE void store(int32_t* p) const { vst1q_s32(p, v); }
};
GK_INLINE Ints operator+(Ints a, Ints b) { return {vaddq_s32(a.v, b.v)}; }
GK_INLINE Ints operator-(Ints a, Ints b) { return {vsubq_s32(a.v, b.v)}; }
GK_INLINE Ints operator*(Ints a, Ints b) { return {vmulq_s32(a.v, b.v)}; }
GK_INLINE Vec<float> to_float(Ints a) { return {vcvtq_f32_s32(a.v)}; }

// clamp(round(x * inverse) + zero, 0, 255). FMAXNM makes the lower bound, and so 0, of a NaN; conversion
// would make 0 of it, and so the zero point. The bounds are any that int32 holds.
GK_INLINE Ints rounded(Vec<float> x, Vec<float> inverse) {
  const float32x4_t above = vmaxnmq_f32((x * inverse).v, vdupq_n_f32(-0x1p20f));
  return {vcvtnq_s32_f32(vminnmq_f32(above, vdupq_n_f32(0x1p20f)))};
}
GK_INLINE Ints quantize(Vec<float> x, Vec<float> inverse, Ints zero) {
  const int32x4_t q = (rounded(x, inverse) + zero).v;
  return {vminq_s32(vmaxq_s32(q, vdupq_n_s32(0)), vdupq_n_s32(255))};
}

// Stores values of [0, 255]; as int8_t, 128 lower.
GK_INLINE void store_elements(Ints v, uint8_t* p) {
  const uint8x16_t bytes = vreinterpretq_u8_s32(v.v), halves = vuzp1q_u8(bytes, bytes);
  const uint32_t quad = vgetq_lane_u32(vreinterpretq_u32_u8(vuzp1q_u8(halves, halves)), 0);
  __builtin_memcpy(p, &quad, 4);
}
GK_INLINE void store_elements(Ints v, int8_t* p) {
  store_elements(v - Ints::broadcast(128), reinterpret_cast<uint8_t*>(p));
}
GK_INLINE void store_bytes_n(Ints v, uint8_t* p, int64_t n) {
  if (n >= 4) return store_elements(v, p);
  uint8_t bytes[4];
  store_elements(v, bytes);
  for (int64_t i = 0; i < n; ++i) p[i] = bytes[i];
}

// 64 elements of a row. Narrowing saturates, twice, so nothing needs to be clamped before.
GK_INLINE uint8x16_t quantize_16(const float* x, Vec<float> inverse, Ints zero) {
  int16x4_t words[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) words[i] = vqmovn_s32((rounded(Vec<float>::load(x + 4 * i), inverse) + zero).v);
  const uint8x8_t low = vqmovun_s16(vcombine_s16(words[0], words[1]));
  return vcombine_u8(low, vqmovun_s16(vcombine_s16(words[2], words[3])));
}
GK_INLINE void quantize_chunk(const float* x, Vec<float> inverse, Ints zero, uint8_t* a) {
  for (int i = 0; i < 64; i += 16) vst1q_u8(a + i, quantize_16(x + i, inverse, zero));
}
GK_INLINE void quantize_chunk(const float* x, Vec<float> inverse, Ints zero, int8_t* a) {
  for (int i = 0; i < 64; i += 16) {
    const uint8x16_t lowered = veorq_u8(quantize_16(x + i, inverse, zero), vdupq_n_u8(0x80));
    vst1q_s8(a + i, vreinterpretq_s8_u8(lowered));
  }
}

// sum += the four products of each quad of b with quad `quad` of a. Written out, since an intrinsic of SDOT
// would need all of the file compiled for CPUs that have it.
GK_INLINE void add_dot(int32x4_t& sum, int8x16_t b, int8x16_t a, int quad) {
  if (quad == 0) asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(b), "w"(a));
  if (quad == 1) asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.4b[1]" : "+w"(sum) : "w"(b), "w"(a));
  if (quad == 2) asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.4b[2]" : "+w"(sum) : "w"(b), "w"(a));
  if (quad == 3) asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.4b[3]" : "+w"(sum) : "w"(b), "w"(a));
}
// The quad at p in all lanes.
GK_INLINE int8x16_t load_quad(const int8_t* p) {
  int32_t quad;
  __builtin_memcpy(&quad, p, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

GK_INLINE float highest(Vec<float> v) { return vmaxvq_f32(v.v); }
GK_INLINE bool any_nan(Vec<float> v) { return vminvq_u32(vceqq_f32(v.v, v.v)) == 0; }

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
