// Stages 2 and 3 of int8_conv2d for filters of one channel each: every lane has a channel of its own, and the
// dot products of bytes go down the columns of the filter. Include cpu/int8_dot.inl and
// cpu/int8_conv2d/output.inl before.

// Lane i of sum += the products of the four unsigned bytes in lane i of a with the signed ones in that of w.
// And side by side: byte 4 * c + k of `to` = byte c of the row from[k], for the channels of a panel. On NEON
// both are signed: interleave makes bytes 128 lower, as cpu/int8_dot.inl has elements.
#if GK_ISA_WIDTH == 1

template <bool kVnni>
GK_INLINE Ints add_quads(Ints sum, Ints a, Ints w) {
  for (int k = 0; k < 32; k += 8) sum.v += int32_t(uint8_t(uint32_t(a.v) >> k)) * int8_t(uint32_t(w.v) >> k);
  return sum;
}
GK_INLINE void interleave(const uint8_t* const (&from)[4], int64_t at, uint8_t* to) {
  for (int64_t i = 0; i < 4 * kInt8Panel; ++i) to[i] = from[i % 4][at + i / 4];
}

#elif GK_ISA_WIDTH == 4

template <bool kVnni>
GK_INLINE Ints add_quads(Ints sum, Ints a, Ints w) {
  const int8x16_t bytes = vreinterpretq_s8_s32(a.v), weights = vreinterpretq_s8_s32(w.v);
  if constexpr (kVnni) {
    asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum.v) : "w"(bytes), "w"(weights));
    return sum;
  }
  PairSums pairs = Dot<false>::zero();
  Dot<false>::step(pairs, bytes, weights);
  return {vaddq_s32(sum.v, vpaddq_s32(pairs.low, pairs.high))};
}
GK_INLINE void interleave(const uint8_t* const (&from)[4], int64_t at, uint8_t* to) {
  const uint8x16_t lower = vdupq_n_u8(0x80);
  for (int64_t c = at; c < at + kInt8Panel; c += 16, to += 64) {
    uint8x16x4_t rows;
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) rows.val[k] = veorq_u8(vld1q_u8(from[k] + c), lower);
    vst4q_u8(to, rows);
  }
}

#elif GK_ISA_WIDTH == 8

template <bool kVnni>
GK_INLINE Ints add_quads(Ints sum, Ints a, Ints w) {
  if constexpr (kVnni) {
    Dot<true>::step(sum.v, a.v, w.v);
    return sum;
  }
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(a.v, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(w.v, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a.v, 8), _mm256_srai_epi16(w.v, 8));
  return {_mm256_add_epi32(sum.v, _mm256_add_epi32(even, odd))};
}
GK_INLINE __m128i load_8_bytes(const uint8_t* p) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
}
GK_INLINE void interleave(const uint8_t* const (&from)[4], int64_t at, uint8_t* to) {
  const __m256i dwords = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const __m256i bytes =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  for (int64_t c = at; c < at + kInt8Panel; c += 8, to += 32) {
    const __m128i low = _mm_unpacklo_epi64(load_8_bytes(from[0] + c), load_8_bytes(from[1] + c));
    const __m128i high = _mm_unpacklo_epi64(load_8_bytes(from[2] + c), load_8_bytes(from[3] + c));
    const __m256i rows = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(rows, dwords), bytes));
  }
}

#else

template <bool kVnni>
GK_INLINE Ints add_quads(Ints sum, Ints a, Ints w) {
  if constexpr (kVnni) {
    Dot<true>::step(sum.v, a.v, w.v);
    return sum;
  }
  const __m512i even = _mm512_madd_epi16(_mm512_and_si512(a.v, _mm512_set1_epi16(255)),
                                         _mm512_srai_epi16(_mm512_slli_epi16(w.v, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(a.v, 8), _mm512_srai_epi16(w.v, 8));
  return {_mm512_add_epi32(sum.v, _mm512_add_epi32(even, odd))};
}
GK_INLINE __m128i load_16_bytes(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
GK_INLINE void interleave(const uint8_t* const (&from)[4], int64_t at, uint8_t* to) {
  const __m512i dwords = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i bytes =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
#pragma GCC unroll 2
  for (int64_t c = at; c < at + kInt8Panel; c += 16, to += 64) {
    __m512i rows = _mm512_castsi128_si512(load_16_bytes(from[0] + c));
    rows = _mm512_inserti32x4(rows, load_16_bytes(from[1] + c), 1);
    rows = _mm512_inserti32x4(rows, load_16_bytes(from[2] + c), 2);
    rows = _mm512_inserti32x4(rows, load_16_bytes(from[3] + c), 3);
    _mm512_storeu_si512(to, _mm512_shuffle_epi8(_mm512_permutexvar_epi32(dwords, rows), bytes));
  }
}

#endif

// A run of outputs, for a panel of channels. Steps are in bytes.
struct DepthwiseRun {
  const char* stage;  // [row quad][column][kInt8Panel][4]
  int64_t quad_step, tap_step, pixel_step;
  int64_t kernel_w, row_quads;
  const int32_t *filter, *moved;  // [kernel_w][row_quads][kInt8Panel] quads; moved: one row further down
  const int32_t* start;           // [kInt8Panel] of the sums
  int64_t count;
};

GK_INLINE Ints load_quads(const char* p) { return Ints::load(reinterpret_cast<const int32_t*>(p)); }

// Sums of one vector of channels. kBoth: of the row below too, Int8Depthwise::kRun outputs behind. kTaps: the
// quads of the filter if they shall stay in registers, else 0.
template <bool kVnni, bool kBoth, int kTaps>
GK_INLINE void depthwise_sums(const DepthwiseRun& run, int64_t c, int32_t* sums) {
  const Ints start = Ints::load(run.start + c);
  const char* p = run.stage + 4 * c;
  Ints w[kTaps + 1], v[kTaps + 1];
#pragma GCC unroll 8
  for (int t = 0; t < kTaps; ++t) {
    w[t] = Ints::load(run.filter + t * kInt8Panel + c);
    v[t] = Ints::load((kBoth ? run.moved : run.filter) + t * kInt8Panel + c);
  }
  for (int64_t x = 0; x < run.count; ++x, p += run.pixel_step, sums += kInt8Panel) {
    Ints sum = start, below = start;
    if constexpr (kTaps > 0) {
#pragma GCC unroll 8
      for (int t = 0; t < kTaps; ++t) {
        const Ints a = load_quads(p + t * run.tap_step);
        sum = add_quads<kVnni>(sum, a, w[t]);
        if (kBoth) below = add_quads<kVnni>(below, a, v[t]);
      }
    } else {
      int64_t at = c;
      for (int64_t j = 0; j < run.kernel_w; ++j) {
        for (int64_t q = 0; q < run.row_quads; ++q, at += kInt8Panel) {
          const Ints a = load_quads(p + j * run.tap_step + q * run.quad_step);
          sum = add_quads<kVnni>(sum, a, Ints::load(run.filter + at));
          if (kBoth) below = add_quads<kVnni>(below, a, Ints::load(run.moved + at));
        }
      }
    }
    sum.store(sums + c);
    if (kBoth) below.store(sums + Int8Depthwise::kRun * kInt8Panel + c);
  }
}

template <bool kVnni>
void depthwise_sums(const DepthwiseRun& run, bool both, int32_t* sums) {
  const bool three = run.kernel_w == 3 && run.row_quads == 1;
  for (int64_t c = 0; c < kInt8Panel; c += Vec<float>::kWidth) {
    if (three) {
      both ? depthwise_sums<kVnni, true, 3>(run, c, sums) : depthwise_sums<kVnni, false, 3>(run, c, sums);
    } else {
      both ? depthwise_sums<kVnni, true, 0>(run, c, sums) : depthwise_sums<kVnni, false, 0>(run, c, sums);
    }
  }
}

// The stage under `columns` columns from in_x on and the filter at output row y, for a panel of channels.
inline void stage_quads(const Int8ConvJob& job, int64_t image, int64_t y, int64_t in_x, int64_t columns,
                        int64_t channel, uint8_t* to) {
  const Int8Conv2dArgs& args = job.args;
  for (int64_t q = 0; q < args.filter.row_quads(); ++q) {
    const uint8_t* from[4];
    for (int64_t k = 0; k < 4; ++k) {  // past the last row any will do: its weights are 0
      const int64_t in_y = std::min(y * args.stride_h + (4 * q + k) * args.dilation_h, job.padded_h() - 1);
      const int64_t row = image * job.padded_h() + in_y;
      from[k] = job.stage + (row * job.padded_w() + in_x) * args.in_c() + channel;
    }
    for (int64_t x = 0; x < columns; ++x, to += 4 * kInt8Panel) interleave(from, x * args.in_c(), to);
  }
}

// The filter of a panel one row further down, for the second row of output.
inline void move_filter(const Int8Filter& filter, const int32_t* quads, int32_t* moved) {
  for (int64_t j = 0; j < filter.kernel_w; ++j) {
    for (int64_t q = 0; q < filter.row_quads(); ++q, quads += kInt8Panel, moved += kInt8Panel) {
      for (int64_t c = 0; c < kInt8Panel; ++c) {
        const uint32_t above = q ? uint32_t(quads[c - kInt8Panel]) >> 24 : 0;
        moved[c] = int32_t(uint32_t(quads[c]) << 8 | above);
      }
    }
  }
}

// Sums of `count` outputs from `row` of the round on become what the caller asked for.
inline void depthwise_output(const Int8ConvJob& job, const Int8Product& product, const Int8Columns& columns,
                             int64_t panel, int64_t row, int64_t count, const int32_t* sums, float* tile) {
  if (!job.tiled()) return int8_output<false>(product, columns, panel, row, count, sums, job.rows);
  Int8Product tiled = product;
  tiled.out = tile;
  tiled.out_stride = kInt8Panel;
  tiled.out_first = (row + panel) * kInt8Panel;
  int8_output<false>(tiled, columns, panel, row, count, sums, job.rows);
  tile_to_planes(job, tile, panel * kInt8Panel, product.shape.n, row, count);
}

// Units [begin, end), in the order [image][band of rows][panel].
template <bool kVnni>
void depthwise_units(const Int8ConvJob& job, const Int8Product& product, int64_t begin, int64_t end,
                     char* scratch) {
  const Int8Conv2dArgs& args = job.args;
  const Int8Filter& filter = args.filter;
  const Int8Depthwise cut(args);
  auto* const quads = reinterpret_cast<uint8_t*>(scratch);
  auto* const moved = reinterpret_cast<int32_t*>(scratch + cut.stage_bytes(filter));
  int32_t* const sums = moved + cut.filter_bytes() / 4;
  auto* const tile = reinterpret_cast<float*>(sums + cut.sums_bytes() / 4);
  const int64_t panels = product.shape.panels();
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t panel = unit % panels, image = unit / panels / cut.bands;
    const int64_t y = unit / panels % cut.bands * cut.rows, rows = std::min(cut.rows, args.out_h - y);
    const auto* weight = reinterpret_cast<const int32_t*>(product.panel(panel));
    const int32_t zero = job.rows.zero[image * job.out_plane()], *of_filter = product.column_sums(panel);
    int32_t start[kInt8Panel];
    for (int64_t c = 0; c < kInt8Panel; ++c) start[c] = (kLowered<kVnni> - zero) * of_filter[c];
    if (rows > 1) move_filter(filter, weight, moved);
    const Int8Columns columns(product, panel);
    for (int64_t x = 0; x < args.out_w; x += Int8Depthwise::kRun) {
      const int64_t count = std::min(Int8Depthwise::kRun, args.out_w - x);
      const int64_t under = cut.columns - (std::min(Int8Depthwise::kRun, args.out_w) - count) * args.stride_w;
      stage_quads(job, image, y, x * args.stride_w, under, panel * kInt8Panel, quads);
      const int64_t pixel = 4 * kInt8Panel;
      depthwise_sums<kVnni>({scratch, under * pixel, args.dilation_w * pixel, args.stride_w * pixel,
                             filter.kernel_w, filter.row_quads(), weight, moved, start, count},
                            rows > 1, sums);
      const int64_t row = (image * args.out_h + y) * args.out_w + x;
      for (int64_t r = 0; r < rows; ++r) {
        depthwise_output(job, product, columns, panel, row + r * args.out_w, count,
                         sums + r * Int8Depthwise::kRun * kInt8Panel, tile);
      }
    }
  }
}
