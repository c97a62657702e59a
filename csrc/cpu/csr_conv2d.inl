// csr_conv2d for one instruction set: pixels to strips, tiles of the product to maps.

#include "cpu/csr_matmul/multiply.inl"

// Output pixels of a strip that lie in one row of the map, as one place of the filter sees them.
struct CsrRun {
  int64_t from;    // the first input of the run, from the start of its channel's map
  int64_t before;  // zeros in front of the inputs: outside of the map
  int64_t count;   // inputs, stride_w apart
  int64_t after;   // zeros behind them
};

// `count` output pixels of output row y from column `first` on, as tap (r, s) of the filter sees them.
inline CsrRun csr_run(const CsrConv2dArgs& args, int64_t tap, int64_t y, int64_t first, int64_t count) {
  const int64_t stride = args.stride_w;
  const int64_t row = y * args.stride_h + tap / args.kernel_w * args.dilation_h - args.pad_h;
  if (row < 0 || row >= args.h) return {0, count, 0, 0};
  const int64_t shift = tap % args.kernel_w * args.dilation_w - args.pad_w;
  // Output columns [begin, end) read input columns within [0, w).
  const int64_t begin = std::clamp<int64_t>((-shift + stride - 1) / stride, first, first + count);
  const int64_t last = args.w - 1 - shift;  // the largest x * stride that is inside
  const int64_t end = std::clamp<int64_t>(last < 0 ? 0 : last / stride + 1, begin, first + count);
  return {row * args.w + begin * stride + shift, begin - first, end - begin, first + count - end};
}

// The runs of a strip of `wide` pixels from `pixel` on; those that follow each other in memory are one.
// Pixels past the last are zeros behind the last run. Returns their number, 1 to wide.
inline int64_t csr_runs(const CsrConv2dArgs& args, int64_t tap, int64_t pixel, int64_t wide, CsrRun* runs) {
  const int64_t end = std::min(pixel + wide, args.out_h * args.out_w);
  int64_t found = 0;
  for (int64_t at = pixel; at < end;) {
    const int64_t x = at % args.out_w, count = std::min(args.out_w - x, end - at);
    const CsrRun run = csr_run(args, tap, at / args.out_w, x, count);
    CsrRun* const before = found > 0 ? &runs[found - 1] : nullptr;
    if (before && args.stride_w == 1 && before->after == 0 && run.before == 0 &&
        run.from == before->from + before->count) {
      before->count += run.count;
      before->after = run.after;
    } else {
      runs[found++] = run;
    }
    at += count;
  }
  runs[found - 1].after += pixel + wide - end;
  return found;
}

// Returns what lies behind the run.
GK_INLINE float* csr_fill_run(const CsrRun& run, const float* map, int64_t stride, float* to) {
  using V = Vec<float>;
  for (int64_t i = 0; i < run.before; ++i) *to++ = 0.0f;
  const float* from = map + run.from;
  int64_t i = 0;
  if (stride == 1) {
    for (; i + V::kWidth <= run.count; i += V::kWidth) V::load(from + i).store(to + i);
    if (i < run.count) V::load_n(from + i, run.count - i).store_n(to + i, run.count - i);
  } else {
    for (; i < run.count; ++i) to[i] = from[i * stride];
  }
  to += run.count;
  for (i = 0; i < run.after; ++i) *to++ = 0.0f;
  return to;
}

// Runs are the same for all channels, so they are found once.
inline void csr_fill_runs(const CsrConv2dArgs& args, const float* image, const CsrPixels& part) {
  const int64_t taps = args.kernel_h * args.kernel_w;
  CsrRun runs[kCsrMaxLines * kCsrLanes];
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t count = csr_runs(args, tap, part.pixel, part.wide, runs);
    for (int64_t c = part.first_channel(tap, taps); c * taps + tap < part.end; ++c) {
      const float* const map = image + c * args.h * args.w;
      float* to = part.to + (c * taps + tap - part.begin) * part.wide;
      for (int64_t i = 0; i < count; ++i) to = csr_fill_run(runs[i], map, args.stride_w, to);
    }
  }
}

#if GK_ISA_WIDTH == 16

// Where maps keep their size, what a place of the filter sees of successive pixels lies in memory in the same
// order, up to the edges of the map: those are masked, and what is masked is not read.
inline void csr_fill_same(const CsrConv2dArgs& args, const float* image, const CsrPixels& part) {
  const int64_t taps = args.kernel_h * args.kernel_w, last = args.out_h * args.out_w;
  const int lines = int(part.wide / kCsrLanes);
  alignas(64) int32_t rows[kCsrMaxLines * kCsrLanes], cols[kCsrMaxLines * kCsrLanes];
  int32_t row = int32_t(part.pixel / args.w), col = int32_t(part.pixel % args.w);
  for (int64_t i = 0; i < part.wide; ++i) {
    rows[i] = part.pixel + i < last ? row : INT32_MIN / 2;  // no place of the filter is inside
    cols[i] = col;
    if (++col == args.w) col = 0, ++row;
  }
  const __m512i h = _mm512_set1_epi32(int32_t(args.h)), w = _mm512_set1_epi32(int32_t(args.w));
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t down = tap / args.kernel_w * args.dilation_h - args.pad_h;
    const int64_t right = tap % args.kernel_w * args.dilation_w - args.pad_w;
    __mmask16 inside[kCsrMaxLines] = {};
    for (int j = 0; j < lines; ++j) {  // unsigned: below 0 is too large
      const __m512i y = _mm512_add_epi32(_mm512_load_si512(rows + 16 * j), _mm512_set1_epi32(int32_t(down)));
      const __m512i x = _mm512_add_epi32(_mm512_load_si512(cols + 16 * j), _mm512_set1_epi32(int32_t(right)));
      inside[j] = _mm512_cmplt_epu32_mask(y, h) & _mm512_cmplt_epu32_mask(x, w);
    }
    const int64_t offset = part.pixel + down * args.w + right;
    for (int64_t c = part.first_channel(tap, taps); c * taps + tap < part.end; ++c) {
      const float* const from = image + c * args.h * args.w + offset;
      float* const to = part.to + (c * taps + tap - part.begin) * part.wide;
      for (int j = 0; j < lines; ++j) {
        _mm512_storeu_ps(to + 16 * j, _mm512_maskz_loadu_ps(inside[j], from + 16 * j));
      }
    }
  }
}

#endif

inline void csr_fill_pixels(const CsrConv2dArgs& args, const float* image, const CsrPixels& part) {
#if GK_ISA_WIDTH == 16
  const bool same = args.stride_h == 1 && args.stride_w == 1 && args.out_h == args.h && args.out_w == args.w;
  // So that no sum of a row and an offset leaves 32 bits.
  if (same && std::max({args.h, args.w, args.pad_h, args.pad_w}) < INT32_MAX / 4) {
    return csr_fill_same(args, image, part);
  }
#endif
  csr_fill_runs(args, image, part);
}

// A tile of the product, output channels [first, first + channels), into the maps, with the bias.
inline void csr_empty_pixels(const CsrConv2dArgs& args, const float* tile, int64_t wide, int64_t first,
                             int64_t channels, float* image, int64_t pixel) {
  using V = Vec<float>;
  const int64_t pixels = args.out_h * args.out_w, count = std::min(wide, pixels - pixel);
  for (int64_t c = 0; c < channels; ++c) {
    const V bias = V::broadcast(args.bias ? args.bias[first + c] : 0.0f);
    const float* const from = tile + c * wide;
    float* const to = image + (first + c) * pixels + pixel;
    int64_t i = 0;
    for (; i + V::kWidth <= count; i += V::kWidth) (V::load(from + i) + bias).store(to + i);
    if (i < count) (V::load(from + i) + bias).store_n(to + i, count - i);
  }
}

inline CsrConvStages csr_conv_stages() {
  return {&csr_fill_pixels, &csr_any_tile_block<float, CsrAhead>, &csr_empty_pixels};
}
