// Vec<T>: the vector of one instruction set and the operations kernels need. Included once per instruction
// set by foreach_isa.h. min and max return the second operand if either is NaN, as the x86 instructions do.

template <typename T>
struct Vec;

#if GK_ISA_WIDTH == 1

template <typename T>
struct Vec {
  static constexpr int kWidth = 1;
  T v;
  static GK_INLINE Vec broadcast(T x) { return {x}; }
  static GK_INLINE Vec load(const T* p) { return {*p}; }
  static GK_INLINE Vec load_n(const T* p, int64_t n) { return {n > 0 ? *p : T(0)}; }
  GK_INLINE void store(T* p) const { *p = v; }
  GK_INLINE void store_n(T* p, int64_t n) const {
    if (n > 0) *p = v;
  }
};

template <typename T>
GK_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return {a.v + b.v};
}
template <typename T>
GK_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return {a.v - b.v};
}
template <typename T>
GK_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return {a.v * b.v};
}
template <typename T>
GK_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) {
  return {a.v / b.v};
}
template <typename T>
GK_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {a.v * b.v + c.v};
}
template <typename T>
GK_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return {c.v - a.v * b.v};
}
template <typename T>
GK_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  return a.v < b.v ? a : b;
}
template <typename T>
GK_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  return a.v > b.v ? a : b;
}
template <typename T>
GK_INLINE Vec<T> select_less(Vec<T> a, Vec<T> b, Vec<T> yes, Vec<T> no) {
  return a.v < b.v ? yes : no;
}
template <typename T>
GK_INLINE Vec<T> abs(Vec<T> a) {
  return {std::fabs(a.v)};
}
template <typename T>
GK_INLINE Vec<T> round(Vec<T> a) {
  return {std::nearbyint(a.v)};
}
template <typename T>
GK_INLINE Vec<T> pow2(Vec<T> n) {
  return {std::ldexp(T(1), int(n.v))};
}  // n integral
template <typename T>
GK_INLINE void transpose(Vec<T> (&)[1]) {}

#elif GK_ISA_WIDTH == 4

template <>
struct Vec<float> {
  static constexpr int kWidth = 4;
  float32x4_t v;
  static GK_INLINE Vec broadcast(float x) { return {vdupq_n_f32(x)}; }
  static GK_INLINE Vec load(const float* p) { return {vld1q_f32(p)}; }
  static GK_INLINE Vec load_n(const float* p, int64_t n) {
    if (n >= 4) return load(p);
    if (n <= 0) return broadcast(0);
    if (n == 1) return {vld1q_lane_f32(p, vdupq_n_f32(0), 0)};
    const float32x2_t low = vld1_f32(p), none = vdup_n_f32(0);
    return {vcombine_f32(low, n == 3 ? vld1_lane_f32(p + 2, none, 0) : none)};
  }
  GK_INLINE void store(float* p) const { vst1q_f32(p, v); }
  GK_INLINE void store_n(float* p, int64_t n) const {
    if (n >= 4) return store(p);
    if (n >= 2) vst1_f32(p, vget_low_f32(v));
    if (n == 1) vst1q_lane_f32(p, v, 0);
    if (n == 3) vst1q_lane_f32(p + 2, v, 2);
  }
};

GK_INLINE Vec<float> operator+(Vec<float> a, Vec<float> b) { return {vaddq_f32(a.v, b.v)}; }
GK_INLINE Vec<float> operator-(Vec<float> a, Vec<float> b) { return {vsubq_f32(a.v, b.v)}; }
GK_INLINE Vec<float> operator*(Vec<float> a, Vec<float> b) { return {vmulq_f32(a.v, b.v)}; }
GK_INLINE Vec<float> operator/(Vec<float> a, Vec<float> b) { return {vdivq_f32(a.v, b.v)}; }
GK_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
GK_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
GK_INLINE Vec<float> select_less(Vec<float> a, Vec<float> b, Vec<float> yes, Vec<float> no) {
  return {vbslq_f32(vcltq_f32(a.v, b.v), yes.v, no.v)};
}
// Not FMIN and FMAX, which give a NaN if either is one.
GK_INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return select_less(a, b, a, b); }
GK_INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return select_less(b, a, a, b); }
GK_INLINE Vec<float> abs(Vec<float> a) { return {vabsq_f32(a.v)}; }
GK_INLINE Vec<float> round(Vec<float> a) { return {vrndnq_f32(a.v)}; }
GK_INLINE Vec<float> pow2(Vec<float> n) {  // n integral, -126..127
  return {vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.v), vdupq_n_s32(127)), 23))};
}

// Values 0, 1 of a, then those of b; and values 2, 3.
GK_INLINE Vec<float> low_halves(float32x4_t a, float32x4_t b) {
  return {vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))};
}
GK_INLINE Vec<float> high_halves(float32x4_t a, float32x4_t b) {
  return {vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))};
}

// r[i][j] becomes r[j][i].
GK_INLINE void transpose(Vec<float> (&r)[4]) {
  const float32x4_t even01 = vtrn1q_f32(r[0].v, r[1].v), odd01 = vtrn2q_f32(r[0].v, r[1].v);
  const float32x4_t even23 = vtrn1q_f32(r[2].v, r[3].v), odd23 = vtrn2q_f32(r[2].v, r[3].v);
  r[0] = low_halves(even01, even23);
  r[1] = low_halves(odd01, odd23);
  r[2] = high_halves(even01, even23);
  r[3] = high_halves(odd01, odd23);
}

#elif GK_ISA_WIDTH == 8

// Lane i of the mask for n lanes is word 8 - n + i.
inline constexpr int32_t kLaneMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

template <>
struct Vec<float> {
  static constexpr int kWidth = 8;
  __m256 v;
  static GK_INLINE __m256i mask(int64_t n) {
    const int64_t lanes = n < 0 ? 0 : n > 8 ? 8 : n;
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask + 8 - lanes));
  }
  static GK_INLINE Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static GK_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static GK_INLINE Vec load_n(const float* p, int64_t n) { return {_mm256_maskload_ps(p, mask(n))}; }
  GK_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  GK_INLINE void store_n(float* p, int64_t n) const { _mm256_maskstore_ps(p, mask(n), v); }
};

GK_INLINE Vec<float> operator+(Vec<float> a, Vec<float> b) { return {_mm256_add_ps(a.v, b.v)}; }
GK_INLINE Vec<float> operator-(Vec<float> a, Vec<float> b) { return {_mm256_sub_ps(a.v, b.v)}; }
GK_INLINE Vec<float> operator*(Vec<float> a, Vec<float> b) { return {_mm256_mul_ps(a.v, b.v)}; }
GK_INLINE Vec<float> operator/(Vec<float> a, Vec<float> b) { return {_mm256_div_ps(a.v, b.v)}; }
GK_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
GK_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {_mm256_fnmadd_ps(a.v, b.v, c.v)};
}
GK_INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm256_min_ps(a.v, b.v)}; }
GK_INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm256_max_ps(a.v, b.v)}; }
GK_INLINE Vec<float> select_less(Vec<float> a, Vec<float> b, Vec<float> yes, Vec<float> no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
GK_INLINE Vec<float> abs(Vec<float> a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
GK_INLINE Vec<float> round(Vec<float> a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
GK_INLINE Vec<float> pow2(Vec<float> n) {  // n integral, -126..127
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))};
}

// r[i][j] becomes r[j][i].
GK_INLINE void transpose(Vec<float> (&r)[8]) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    a[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    r[i + 4].v = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}

#else

template <>
struct Vec<float> {
  static constexpr int kWidth = 16;
  __m512 v;
  static GK_INLINE __mmask16 mask(int64_t n) {
    return n >= 16 ? 0xffff : n <= 0 ? 0 : __mmask16((1u << n) - 1);
  }
  static GK_INLINE Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static GK_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static GK_INLINE Vec load_n(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(mask(n), p)}; }
  GK_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  GK_INLINE void store_n(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, mask(n), v); }
};

GK_INLINE Vec<float> operator+(Vec<float> a, Vec<float> b) { return {_mm512_add_ps(a.v, b.v)}; }
GK_INLINE Vec<float> operator-(Vec<float> a, Vec<float> b) { return {_mm512_sub_ps(a.v, b.v)}; }
GK_INLINE Vec<float> operator*(Vec<float> a, Vec<float> b) { return {_mm512_mul_ps(a.v, b.v)}; }
GK_INLINE Vec<float> operator/(Vec<float> a, Vec<float> b) { return {_mm512_div_ps(a.v, b.v)}; }
GK_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
GK_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}
GK_INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return {_mm512_min_ps(a.v, b.v)}; }
GK_INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return {_mm512_max_ps(a.v, b.v)}; }
GK_INLINE Vec<float> select_less(Vec<float> a, Vec<float> b, Vec<float> yes, Vec<float> no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}
GK_INLINE Vec<float> abs(Vec<float> a) { return {_mm512_abs_ps(a.v)}; }
GK_INLINE Vec<float> round(Vec<float> a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
GK_INLINE Vec<float> pow2(Vec<float> n) {  // n integral, -126..127
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}

// r[i][j] becomes r[j][i].
GK_INLINE void transpose(Vec<float> (&r)[16]) {
  __m512 a[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    a[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16;
       i += 4) {  // r[i + j] now holds column 4 * lane + j of rows i..i + 3 in each 128-bit lane
    r[i].v = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
    r[i + 1].v = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
    r[i + 2].v = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    r[i + 3].v = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 even01 =
        _mm512_shuffle_f32x4(r[j].v, r[4 + j].v, 0x88);  // lanes 0, 2 of rows 0-3, then of rows 4-7
    const __m512 odd01 = _mm512_shuffle_f32x4(r[j].v, r[4 + j].v, 0xDD);  // lanes 1, 3
    const __m512 even23 = _mm512_shuffle_f32x4(r[8 + j].v, r[12 + j].v, 0x88);
    const __m512 odd23 = _mm512_shuffle_f32x4(r[8 + j].v, r[12 + j].v, 0xDD);
    a[j] = _mm512_shuffle_f32x4(even01, even23, 0x88);
    a[4 + j] = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
    a[8 + j] = _mm512_shuffle_f32x4(even01, even23, 0xDD);
    a[12 + j] = _mm512_shuffle_f32x4(odd01, odd23, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i].v = a[i];
}

#endif
