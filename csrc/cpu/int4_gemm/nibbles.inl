// Sums of products of 4-bit by 8-bit integers: what each instruction set has for them. A vector holds a quad
// of the depth for each of kWidth columns. Without vpdpbusd pairs are added up in 16 bits (vpmaddubsw), which
// is exact here: 2 * 15 * 128 < 32768.

#if GK_ISA_WIDTH == 1

struct Quads {
  uint8_t v[4];
};
// The even or the odd quad of an octet.
GK_INLINE Quads low_quads(const uint8_t* octet) {
  return {{uint8_t(octet[0] & 15), uint8_t(octet[1] & 15), uint8_t(octet[2] & 15), uint8_t(octet[3] & 15)}};
}
GK_INLINE Quads high_quads(const uint8_t* octet) {
  return {{uint8_t(octet[0] >> 4), uint8_t(octet[1] >> 4), uint8_t(octet[2] >> 4), uint8_t(octet[3] >> 4)}};
}
// sum + the products of each column's quad with the one of a.
template <bool kVnni>
GK_INLINE Ints dot_quads(Ints sum, Quads b, const int8_t* a) {
  for (int i = 0; i < 4; ++i) sum.v += b.v[i] * a[i];
  return sum;
}

#elif GK_ISA_WIDTH == 8

struct Quads {
  __m256i v;
};
GK_INLINE Quads low_quads(const uint8_t* octet) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(octet));
  return {_mm256_and_si256(both, _mm256_set1_epi8(15))};
}
GK_INLINE Quads high_quads(const uint8_t* octet) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(octet));
  return {_mm256_and_si256(_mm256_srli_epi16(both, 4), _mm256_set1_epi8(15))};
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
GK_INLINE Quads low_quads(const uint8_t* octet) {
  return {_mm512_and_si512(_mm512_loadu_si512(octet), _mm512_set1_epi8(15))};
}
GK_INLINE Quads high_quads(const uint8_t* octet) {
  return {_mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(octet), 4), _mm512_set1_epi8(15))};
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
