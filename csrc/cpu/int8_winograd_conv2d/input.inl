// Stage 1 of int8_winograd_conv2d: V = B^T d B of a tile, all channels, each tap then quantized by itself
// into the rows of its product. Include cpu/int8_gemm/rows.inl before.

// Rows of B^T times four values of any kind: both directions of the transform.
template <typename V>
GK_INLINE void transform_four(const V& d0, const V& d1, const V& d2, const V& d3, V (&v)[4]) {
  v[0] = d0 - d2;
  v[1] = d1 + d2;
  v[2] = d2 - d1;
  v[3] = d1 - d3;
}

// kLoad(pixel) is a vector of channels of one of the 16 pixels; taps: at that channel.
template <typename Load>
GK_INLINE void transform_channels(const Load& load, float* taps, int64_t line) {
  using V = Vec<float>;
  V rows[4][4];  // [column][row of B^T d]
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) transform_four(load(j), load(4 + j), load(8 + j), load(12 + j), rows[j]);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    V v[4];
    transform_four(rows[0][i], rows[1][i], rows[2][i], rows[3][i], v);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) v[j].store(taps + (4 * i + j) * line);
  }
}

// pixels: [16] of a tile, each with its channels side by side; taps: [16][line], line a multiple of 64.
GK_INLINE void transform_tile(const float* const (&pixels)[16], int64_t channels, float* taps, int64_t line) {
  using V = Vec<float>;
  int64_t c = 0;
  for (; c + V::kWidth <= channels; c += V::kWidth) {
    transform_channels([&](int p) { return V::load(pixels[p] + c); }, taps + c, line);
  }
  if (c < channels) {
    transform_channels([&](int p) { return V::load_n(pixels[p] + c, channels - c); }, taps + c, line);
  }
}

// The pixels of a tile of the group, those outside of the map being zeros; and its place.
inline void find_pixels(const Int8WinogradJob& job, int64_t tile, const float* (&pixels)[16]) {
  const Int8WinogradArgs& args = job.args;
  const int64_t index = job.first + tile, columns = job.tile_columns();
  const int64_t image = index / (job.tile_rows() * columns), row = index / columns % job.tile_rows() * 2;
  const int64_t column = index % columns * 2, y = row - args.pad_h, x = column - args.pad_w;
  job.place[tile] = {(image * args.out_h() + row) * args.out_w() + column,
                     int32_t(std::min<int64_t>(2, args.out_h() - row)),
                     int32_t(std::min<int64_t>(2, args.out_w() - column))};
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      const bool inside = y + i >= 0 && y + i < args.h && x + j >= 0 && x + j < args.w;
      const int64_t at = (image * args.h + y + i) * args.w + x + j;
      pixels[4 * i + j] = inside ? args.input + at * args.in_c : job.zeros;
    }
  }
}

// The quantizers of all taps of a tile, as quantizer_of has them, and whether its values are all finite.
struct TapQuantizers {
  float scale[kInt8WinogradTaps], inverse[kInt8WinogradTaps], zero[kInt8WinogradTaps];
};

// The least and the largest value of every tap, found side by side: one lane a tap.
GK_INLINE bool find_ends(const float* lines, int64_t channels, int64_t line, float* high, float* depth) {
  using V = Vec<float>;
  constexpr int kWidth = V::kWidth;
  const V nothing = V::broadcast(0);
  V poison = nothing;  // 0 * v: a NaN if any is one, or infinite
  for (int64_t t = 0; t < kInt8WinogradTaps; t += kWidth) {
    V highest_of[kWidth], lowest_of[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      const float* v = lines + (t + i) * line;
      V most = nothing, least = nothing;
      for (int64_t c = 0; c < channels; c += kWidth, v += kWidth) {  // 0 past the last channel
        const V x = V::load(v);
        most = max(most, x);
        least = min(least, x);
        poison = fma(x, nothing, poison);
      }
      highest_of[i] = most;
      lowest_of[i] = least;
    }
    transpose(highest_of);
    transpose(lowest_of);
    for (int i = 1; i < kWidth; ++i) {
      highest_of[0] = max(highest_of[0], highest_of[i]);
      lowest_of[0] = min(lowest_of[0], lowest_of[i]);
    }
    highest_of[0].store(high + t);
    (nothing - lowest_of[0]).store(depth + t);
  }
  return !any_nan(poison);
}

GK_INLINE void find_quantizers(const float* lines, int64_t channels, int64_t line, TapQuantizers& of) {
  using V = Vec<float>;
  float high[kInt8WinogradTaps], depth[kInt8WinogradTaps];
  if (!find_ends(lines, channels, line, high, depth)) {
    for (int64_t t = 0; t < kInt8WinogradTaps; ++t) of.scale[t] = NAN, of.inverse[t] = of.zero[t] = 0;
    return;
  }
  const V steps = V::broadcast(255), least = V::broadcast(0x1p-126f), one = V::broadcast(1);
  for (int64_t t = 0; t < kInt8WinogradTaps; t += V::kWidth) {
    const V below = V::load(depth + t), scale = max(V::load(high + t) / steps + below / steps, least);
    const V inverse = one / scale;
    scale.store(of.scale + t);
    inverse.store(of.inverse + t);
    round(below * inverse).store(of.zero + t);
  }
}

template <bool kVnni>
void winograd_input(const Int8WinogradJob& job, int64_t begin, int64_t end, float* lines) {
  auto* const taps = static_cast<typename Dot<kVnni>::Element*>(job.taps);
  const int64_t channels = job.args.in_c, line = job.line(channels), stride = job.tap_stride();
  const Int8Product product = job.product(0, 0, nullptr);
  for (int64_t block = begin; block < end; ++block) {
    const int64_t first = product.first_row(block), count = product.rows(block);
    for (int64_t i = 0; i < count; ++i) {
      const float* pixels[16];
      find_pixels(job, first + i, pixels);
      transform_tile(pixels, channels, lines, line);
      TapQuantizers of;
      find_quantizers(lines, channels, line, of);
      auto* const row = taps + block * product.block_stride() + i * 64;
      for (int64_t t = 0; t < kInt8WinogradTaps; ++t) {
        quantize_row(lines + t * line, {of.scale[t], of.inverse[t], of.zero[t]}, channels, row + t * stride,
                     count * 64);
        job.scale[t * job.tiles + first + i] = of.scale[t];
        job.zero[t * job.tiles + first + i] = int32_t(of.zero[t]);
      }
    }
  }
}
