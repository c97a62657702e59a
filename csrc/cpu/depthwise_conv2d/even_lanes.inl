// Every second value of two vectors, for rows that are read with stride 2.

// Lanes 0, 2, 4 ... of a, then those of b.
#if GK_ISA_WIDTH == 1
template <typename T>
GK_INLINE Vec<T> even_lanes(Vec<T> a, Vec<T>) {
  return a;
}
#elif GK_ISA_WIDTH == 4
GK_INLINE Vec<float> even_lanes(Vec<float> a, Vec<float> b) { return {vuzp1q_f32(a.v, b.v)}; }
#elif GK_ISA_WIDTH == 8
GK_INLINE Vec<float> even_lanes(Vec<float> a, Vec<float> b) {
  const __m256 pairs = _mm256_shuffle_ps(a.v, b.v, 0x88);  // in each half two of a, then two of b
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(pairs), 0xD8))};
}
#else
GK_INLINE Vec<float> even_lanes(Vec<float> a, Vec<float> b) {
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return {_mm512_permutex2var_ps(a.v, even, b.v)};
}
#endif
