// csr_conv2d for one instruction set: pixels to strips, tiles of the product to maps.

#include "cpu/csr_matmul/multiply.inl"

// One row of a strip from one row of the map: `count` output pixels from column `first` on, `shift` input
// columns behind output column 0. What lies outside of the map is 0.
GK_INLINE void csr_fill_run(const CsrConv2dArgs& args, const float* map_row, int64_t first, int64_t shift,
                            int64_t count, float* to) {
  const int64_t stride = args.stride_w;
  // Output columns [begin, end) read input columns within [0, w).
  const int64_t begin = std::clamp<int64_t>((-shift + stride - 1) / stride, first, first + count);
  const int64_t last = args.w - 1 - shift;  // the largest x * stride that is inside
  const int64_t end = std::clamp<int64_t>(last < 0 ? 0 : last / stride + 1, begin, first + count);
  int64_t x = first;
  for (; x < begin; ++x) *to++ = 0.0f;
  if (stride == 1) {
    using V = Vec<float>;
    for (; x + V::kWidth <= end; x += V::kWidth, to += V::kWidth) V::load(map_row + x + shift).store(to);
  }
  for (; x < end; ++x) *to++ = map_row[x * stride + shift];
  for (; x < first + count; ++x) *to++ = 0.0f;
}

// The strip of `wide` output pixels from `pixel` on (rows of the map one after the other): its row p holds
// what position p of the filter sees. Pixels past the last are 0.
inline void csr_fill_pixels(const CsrConv2dArgs& args, const float* image, int64_t pixel, int64_t wide,
                            float* strip) {
  const int64_t taps = args.kernel_h * args.kernel_w, last = args.out_h * args.out_w;
  for (int64_t p = 0; p < args.shape.k; ++p) {
    const int64_t tap = p % taps, row_shift = tap / args.kernel_w * args.dilation_h - args.pad_h;
    const int64_t col_shift = tap % args.kernel_w * args.dilation_w - args.pad_w;
    const float* const map = image + p / taps * args.h * args.w;
    float* to = strip + p * wide;
    int64_t at = pixel;
    while (at < std::min(pixel + wide, last)) {
      const int64_t y = at / args.out_w, x = at % args.out_w;
      const int64_t count = std::min({args.out_w - x, pixel + wide - at, last - at});
      const int64_t row = y * args.stride_h + row_shift;
      if (row < 0 || row >= args.h) {
        std::fill_n(to, count, 0.0f);
      } else {
        csr_fill_run(args, map + row * args.w, x, col_shift, count, to);
      }
      at += count;
      to += count;
    }
    std::fill(to, strip + (p + 1) * wide, 0.0f);
  }
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

inline CsrConvStages csr_conv_stages() { return {&csr_fill_pixels, &csr_any_tile<float>, &csr_empty_pixels}; }
