// The rows format times a few rows of x: each nonzero gathers its element of x, which lies in the L1 or L2
// cache, while values and columns stream in.

inline constexpr int kCsrGatherAhead = 512;  // nonzeros: 1 KiB of columns, 2 KiB of values

#if GK_ISA_WIDTH == 16

GK_INLINE __m512i csr_columns(const uint16_t* columns) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(columns)));
}

// Two sums of 16 hide the latency of the multiply-adds. What comes from the L3 cache or memory is asked for
// ahead: 9 to 17 % (n = k = 2048 and 4096, 50 to 90 % zeros); of the addresses past the end nothing is read.
GK_INLINE float csr_gather_dot(const uint16_t* columns, const float* values, int64_t count, const float* x) {
  __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (; count >= 32; count -= 32, columns += 32, values += 32) {
    _mm_prefetch(reinterpret_cast<const char*>(columns + kCsrGatherAhead), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(values + kCsrGatherAhead), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(values + kCsrGatherAhead + 16), _MM_HINT_T0);
#pragma GCC unroll 2
    for (int u = 0; u < 2; ++u) {
      const __m512 gathered = _mm512_i32gather_ps(csr_columns(columns + 16 * u), x, 4);
      sum[u] = _mm512_fmadd_ps(_mm512_loadu_ps(values + 16 * u), gathered, sum[u]);
    }
  }
  for (; count > 0; count -= 16, columns += 16, values += 16) {
    const __mmask16 mask = Vec<float>::mask(count);
    const __m512i at = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, columns));
    const __m512 gathered = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, at, x, 4);
    sum[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, values), gathered, sum[0]);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1]));
}

#elif GK_ISA_WIDTH == 8

GK_INLINE float csr_gather_dot(const uint16_t* columns, const float* values, int64_t count, const float* x) {
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (; count >= 16; count -= 16, columns += 16, values += 16) {
    _mm_prefetch(reinterpret_cast<const char*>(columns + kCsrGatherAhead), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(values + kCsrGatherAhead), _MM_HINT_T0);
#pragma GCC unroll 2
    for (int u = 0; u < 2; ++u) {
      const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(columns + 8 * u));
      const __m256 gathered = _mm256_i32gather_ps(x, _mm256_cvtepu16_epi32(narrow), 4);
      sum[u] = _mm256_fmadd_ps(_mm256_loadu_ps(values + 8 * u), gathered, sum[u]);
    }
  }
  const __m256 both = _mm256_add_ps(sum[0], sum[1]);
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
  const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
  float total = _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
  for (; count > 0; --count) total += *values++ * x[*columns++];
  return total;
}

#elif GK_ISA_WIDTH == 4

// NEON gathers nothing: elements of x are loaded one by one into the lanes. Four sums of four hide the
// latency of the multiply-adds.
GK_INLINE float csr_gather_dot(const uint16_t* columns, const float* values, int64_t count, const float* x) {
  float32x4_t sum[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
  for (; count >= 16; count -= 16, columns += 16, values += 16) {
    __builtin_prefetch(columns + kCsrGatherAhead);
    __builtin_prefetch(values + kCsrGatherAhead);
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      const uint16_t* at = columns + 4 * u;
      float32x4_t gathered = vld1q_dup_f32(x + at[0]);
      gathered = vld1q_lane_f32(x + at[1], gathered, 1);
      gathered = vld1q_lane_f32(x + at[2], gathered, 2);
      gathered = vld1q_lane_f32(x + at[3], gathered, 3);
      sum[u] = vfmaq_f32(sum[u], vld1q_f32(values + 4 * u), gathered);
    }
  }
  float total = vaddvq_f32(vaddq_f32(vaddq_f32(sum[0], sum[1]), vaddq_f32(sum[2], sum[3])));
  for (; count > 0; --count) total += *values++ * x[*columns++];
  return total;
}

#endif

// One sum where there is no gathering, for double among others.
template <typename T>
GK_INLINE T csr_gather_dot(const uint16_t* columns, const T* values, int64_t count, const T* x) {
  T total = 0;
  for (int64_t p = 0; p < count; ++p) total += values[p] * x[columns[p]];
  return total;
}

// Rows [begin, end) of the weight times all rows of x.
template <typename T>
void csr_gather_rows(const CsrMatmulArgs<T>& args, const CsrRows<T>& rows, CsrRowRange range) {
  for (int64_t row = range.begin; row < range.end; ++row) {
    const int64_t first = rows.crow_indices[row], count = rows.crow_indices[row + 1] - first;
    const T bias = args.bias ? args.bias[row] : T(0);
    for (int64_t i = 0; i < args.m; ++i) {
      args.out[i * args.shape.n + row] =
          csr_gather_dot(rows.columns + first, rows.values + first, count, args.x + i * args.shape.k) + bias;
    }
  }
}
