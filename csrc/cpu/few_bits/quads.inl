// Sums of products of few-bit by 8-bit integers: what each instruction set has for them. A vector holds a
// quad of the depth for each of kWidth columns. Without vpdpbusd pairs are added up in 16 bits (vpmaddubsw),
// which is exact for codes and entries of at most 7 bits: 2 * 127 * 128 < 32768.

#if GK_ISA_WIDTH == 1

struct Quads {
  uint8_t v[4];
};
// The bits [kBits * kField, kBits * (kField + 1)) of each byte.
template <int kField, int kBits>
GK_INLINE Quads bit_field(const uint8_t* p) {
  Quads found;
  for (int i = 0; i < 4; ++i) found.v[i] = uint8_t(p[i] >> kBits * kField & ((1 << kBits) - 1));
  return found;
}
// 16 bytes, and those that the codes at p name; where these have fewer than 4 bits, the bytes repeat.
struct Table {
  const uint8_t* v;
};
GK_INLINE Table load_table(const uint8_t* p) { return {p}; }
template <int kField, int kBits, bool kVbmi>
GK_INLINE Quads look_up(Table table, const uint8_t* p) {
  Quads at = bit_field<kField, kBits>(p);
  for (uint8_t& v : at.v) v = table.v[v];
  return at;
}
// sum + the products of each column's quad with the one of a.
template <bool kVnni>
GK_INLINE Ints dot_quads(Ints sum, Quads b, const int8_t* a) {
  for (int i = 0; i < 4; ++i) sum.v += b.v[i] * a[i];
  return sum;
}

#elif GK_ISA_WIDTH == 4

struct Quads {
  uint8x16_t v;
};
template <int kField, int kBits>
GK_INLINE Quads bit_field(const uint8_t* p) {
  uint8x16_t all = vld1q_u8(p);
  if (kField > 0) all = vshlq_u8(all, vdupq_n_s8(-kBits * kField));
  return {vandq_u8(all, vdupq_n_u8((1 << kBits) - 1))};
}
struct Table {
  uint8x16_t v;
};
GK_INLINE Table load_table(const uint8_t* p) { return {vld1q_u8(p)}; }
template <int kField, int kBits, bool kVbmi>
GK_INLINE Quads look_up(Table table, const uint8_t* p) {
  return {vqtbl1q_u8(table.v, bit_field<kField, kBits>(p).v)};
}
template <bool kVnni>
GK_INLINE Ints dot_quads(Ints sum, Quads b, const int8_t* a) {
  const int8x16_t b_quads = vreinterpretq_s8_u8(b.v), a_quad = load_quad(a);
  if (kVnni) {
    add_dot(sum.v, b_quads, a_quad, 0);
    return sum;
  }
  const int16x8_t low = vmull_s8(vget_low_s8(b_quads), vget_low_s8(a_quad));
  const int16x8_t high = vmull_high_s8(b_quads, a_quad);
  return {vpadalq_s16(sum.v, vpaddq_s16(low, high))};
}

#elif GK_ISA_WIDTH == 8

struct Quads {
  __m256i v;
};
template <int kField, int kBits>
GK_INLINE Quads bit_field(const uint8_t* p) {
  __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  if (kField > 0) all = _mm256_srli_epi16(all, kBits * kField);
  return {_mm256_and_si256(all, _mm256_set1_epi8((1 << kBits) - 1))};
}
struct Table {
  __m256i v;
};
GK_INLINE Table load_table(const uint8_t* p) {
  return {_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
template <int kField, int kBits, bool kVbmi>
GK_INLINE Quads look_up(Table table, const uint8_t* p) {
  return {_mm256_shuffle_epi8(table.v, bit_field<kField, kBits>(p).v)};
}
template <bool kVnni>
GK_INLINE Ints dot_quads(Ints sum, Quads b, const int8_t* a) {
  int32_t quad;
  __builtin_memcpy(&quad, a, 4);
  const __m256i a_quad = _mm256_set1_epi32(quad);
  if (kVnni) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.v) : "x"(b.v), "x"(a_quad));
    return sum;
  }
  const __m256i pairs = _mm256_maddubs_epi16(b.v, a_quad);
  return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
}

#else

struct Quads {
  __m512i v;
};
template <int kField, int kBits>
GK_INLINE Quads bit_field(const uint8_t* p) {
  __m512i all = _mm512_loadu_si512(p);
  if (kField > 0) all = _mm512_srli_epi16(all, kBits * kField);
  return {_mm512_and_si512(all, _mm512_set1_epi8((1 << kBits) - 1))};
}
struct Table {
  __m512i v;
};
GK_INLINE Table load_table(const uint8_t* p) {
  return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
// vpermb reads the low 6 bits of a place. The table is in its register four times, so that those above a code
// do not count and need no `and`: a code costs as many instructions as a 4-bit integer. (Without it vpshufb
// reads 4 bits, but gives 0 where the highest bit of the byte is set.)
template <int kField, int kBits, bool kVbmi>
GK_INLINE Quads look_up(Table table, const uint8_t* p) {
  if (!kVbmi) return {_mm512_shuffle_epi8(table.v, bit_field<kField, kBits>(p).v)};
  __m512i at = _mm512_loadu_si512(p), found;
  if (kField > 0) at = _mm512_srli_epi16(at, kBits * kField);
  asm("vpermb %2, %1, %0" : "=v"(found) : "v"(at), "v"(table.v));  // written out: no level has AVX512-VBMI
  return {found};
}
template <bool kVnni>
GK_INLINE Ints dot_quads(Ints sum, Quads b, const int8_t* a) {
  if (kVnni) {  // written out: see cpu/int8_dot.inl
    asm("vpdpbusd %2%{1to16%}, %1, %0"
        : "+v"(sum.v)
        : "v"(b.v), "m"(*reinterpret_cast<const int32_t (*)[1]>(a)));
    return sum;
  }
  int32_t quad;
  __builtin_memcpy(&quad, a, 4);
  const __m512i pairs = _mm512_maddubs_epi16(b.v, _mm512_set1_epi32(quad));
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
}

#endif
