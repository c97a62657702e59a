// Loads and stores of the elements of a map: as Vec<T> where the map holds T, as Vec<float> where it holds
// 16-bit numbers. The variants with n touch and give the first n lanes, all of them if n is the width or more
// and none if it is 0 or less; lanes past them are 0.

template <typename T>
GK_INLINE Vec<T> load_elements(const T* p) {
  return Vec<T>::load(p);
}
template <typename T>
GK_INLINE Vec<T> load_elements_n(const T* p, int64_t n) {
  return Vec<T>::load_n(p, n);
}
template <typename T>
GK_INLINE void store_elements(Vec<T> v, T* p) {
  v.store(p);
}
template <typename T>
GK_INLINE void store_elements_n(Vec<T> v, T* p, int64_t n) {
  v.store_n(p, n);
}

#if GK_ISA_WIDTH == 1

GK_INLINE Vec<float> load_elements(const BFloat16* p) { return {to_float(*p)}; }
GK_INLINE Vec<float> load_elements(const Float16* p) { return {to_float(*p)}; }
GK_INLINE void store_elements(Vec<float> v, BFloat16* p) { *p = to_bfloat16(v.v); }
GK_INLINE void store_elements(Vec<float> v, Float16* p) { *p = to_float16(v.v); }

template <typename S>
GK_INLINE Vec<float> load_half_n(const S* p, int64_t n) {
  return n > 0 ? load_elements(p) : Vec<float>{0};
}
template <typename S>
GK_INLINE void store_half_n(Vec<float> v, S* p, int64_t n) {
  if (n > 0) store_elements(v, p);
}

#elif GK_ISA_WIDTH == 4

GK_INLINE Vec<float> widen(uint16x4_t x, BFloat16) { return {vreinterpretq_f32_u32(vshll_n_u16(x, 16))}; }
GK_INLINE Vec<float> widen(uint16x4_t x, Float16) { return {vcvt_f32_f16(vreinterpret_f16_u16(x))}; }

// As to_bfloat16 of cpu/half.h.
GK_INLINE uint16x4_t narrow(Vec<float> v, BFloat16) {
  const uint32x4_t bits = vreinterpretq_u32_f32(v.v), upper = vshrq_n_u32(bits, 16);
  const uint32x4_t odd = vandq_u32(upper, vdupq_n_u32(1));
  const uint32x4_t sum = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
  const uint32x4_t quiet = vorrq_u32(upper, vdupq_n_u32(0x0040));
  return vmovn_u32(vbslq_u32(vceqq_f32(v.v, v.v), vshrq_n_u32(sum, 16), quiet));
}
GK_INLINE uint16x4_t narrow(Vec<float> v, Float16) { return vreinterpret_u16_f16(vcvt_f16_f32(v.v)); }

template <typename S>
GK_INLINE Vec<float> load_half(const S* p) {
  return widen(vld1_u16(reinterpret_cast<const uint16_t*>(p)), S{});
}
template <typename S>
GK_INLINE void store_half(Vec<float> v, S* p) {
  vst1_u16(reinterpret_cast<uint16_t*>(p), narrow(v, S{}));
}

// Through a whole vector in memory.
template <typename S>
GK_INLINE Vec<float> load_half_n(const S* p, int64_t n) {
  if (n >= 4) return load_half(p);
  S lanes[4] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load_half(lanes);
}
template <typename S>
GK_INLINE void store_half_n(Vec<float> v, S* p, int64_t n) {
  if (n >= 4) return store_half(v, p);
  S lanes[4];
  store_half(v, lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

#elif GK_ISA_WIDTH == 8

GK_INLINE Vec<float> widen(__m128i x, BFloat16) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16))};
}
GK_INLINE Vec<float> widen(__m128i x, Float16) { return {_mm256_cvtph_ps(x)}; }

// As to_bfloat16 of cpu/half.h.
GK_INLINE __m128i narrow(Vec<float> v, BFloat16) {
  const __m256i bits = _mm256_castps_si256(v.v), upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x0040));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v.v, v.v, _CMP_UNORD_Q));
  const __m256i words = _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
GK_INLINE __m128i narrow(Vec<float> v, Float16) {
  return _mm256_cvtps_ph(v.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

template <typename S>
GK_INLINE Vec<float> load_half(const S* p) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), S{});
}
template <typename S>
GK_INLINE void store_half(Vec<float> v, S* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(v, S{}));
}

// AVX2 masks no 16-bit lanes, so these go through a whole vector in memory.
template <typename S>
GK_INLINE Vec<float> load_half_n(const S* p, int64_t n) {
  if (n >= 8) return load_half(p);
  S lanes[8] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load_half(lanes);
}
template <typename S>
GK_INLINE void store_half_n(Vec<float> v, S* p, int64_t n) {
  if (n >= 8) return store_half(v, p);
  S lanes[8];
  store_half(v, lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

#else

GK_INLINE Vec<float> widen(__m256i x, BFloat16) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))};
}
GK_INLINE Vec<float> widen(__m256i x, Float16) { return {_mm512_cvtph_ps(x)}; }

GK_INLINE __m256i narrow(Vec<float> v, BFloat16) {
#ifdef GK_ISA_BF16
  return (__m256i)_mm512_cvtneps_pbh(v.v);
#else  // as to_bfloat16 of cpu/half.h
  const __m512i bits = _mm512_castps_si512(v.v), upper = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x0040));
  const __mmask16 nan = _mm512_cmp_ps_mask(v.v, v.v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(sum, 16), nan, quiet));
#endif
}
GK_INLINE __m256i narrow(Vec<float> v, Float16) {
  return _mm512_cvtps_ph(v.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

template <typename S>
GK_INLINE Vec<float> load_half(const S* p) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), S{});
}
template <typename S>
GK_INLINE void store_half(Vec<float> v, S* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(v, S{}));
}
template <typename S>
GK_INLINE Vec<float> load_half_n(const S* p, int64_t n) {
  return widen(_mm256_maskz_loadu_epi16(Vec<float>::mask(n), p), S{});
}
template <typename S>
GK_INLINE void store_half_n(Vec<float> v, S* p, int64_t n) {
  _mm256_mask_storeu_epi16(p, Vec<float>::mask(n), narrow(v, S{}));
}

#endif

#if GK_ISA_WIDTH != 1
GK_INLINE Vec<float> load_elements(const BFloat16* p) { return load_half(p); }
GK_INLINE Vec<float> load_elements(const Float16* p) { return load_half(p); }
GK_INLINE void store_elements(Vec<float> v, BFloat16* p) { store_half(v, p); }
GK_INLINE void store_elements(Vec<float> v, Float16* p) { store_half(v, p); }
#endif
GK_INLINE Vec<float> load_elements_n(const BFloat16* p, int64_t n) { return load_half_n(p, n); }
GK_INLINE Vec<float> load_elements_n(const Float16* p, int64_t n) { return load_half_n(p, n); }
GK_INLINE void store_elements_n(Vec<float> v, BFloat16* p, int64_t n) { store_half_n(v, p, n); }
GK_INLINE void store_elements_n(Vec<float> v, Float16* p, int64_t n) { store_half_n(v, p, n); }
