// Stage 1 of int8_conv2d: rows of a float or 8-bit map become rows of the padded stage, unsigned 8-bit values
// with channels innermost. Include cpu/int8_convert.inl before.

// `count` values that lie side by side.
GK_INLINE void quantize_line(const float* x, const Quantizer& by, int64_t count, uint8_t* q) {
  using V = Vec<float>;
  const V inverse = V::broadcast(by.inverse);
  const Ints zero = Ints::broadcast(int32_t(by.zero));
  for (; count >= 64; count -= 64, x += 64, q += 64) quantize_chunk(x, inverse, zero, q);
  for (int64_t i = 0; i < count; i += V::kWidth) {
    store_bytes_n(quantize(V::load_n(x + i, count - i), inverse, zero), q + i, count - i);
  }
}

// Four quantized values in the four bytes of each lane.
GK_INLINE Ints quad_of(const Ints (&value)[4]) {
  const Ints byte = Ints::broadcast(256);
  return value[0] + byte * (value[1] + byte * (value[2] + byte * value[3]));
}

// One vector of pixels of a row, of which `pixels` exist, from `channels` planes into stage order: bytes of
// 4 channels in a lane, lanes of 4 * kWidth channels transposed at a time.
GK_INLINE void quantize_pixels(const float* x, int64_t plane, int64_t pixels, int64_t channels,
                               const Quantizer& by, uint8_t* q) {
  using V = Vec<float>;
  constexpr int kWidth = V::kWidth;
  const V inverse = V::broadcast(by.inverse);
  const Ints zero = Ints::broadcast(int32_t(by.zero));
  const int64_t count = pixels < kWidth ? pixels : kWidth;
  for (int64_t c = 0; c < channels; c += 4 * kWidth) {
    Vec<float> quads[kWidth];  // moved as floats, never computed with
    for (int i = 0; i < kWidth; ++i) {
      Ints value[4];
      for (int j = 0; j < 4; ++j) {
        const int64_t channel = c + 4 * i + j;
        value[j] = channel < channels ? quantize(V::load_n(x + channel * plane, pixels), inverse, zero)
                                      : Ints::broadcast(0);
      }
      int32_t lanes[kWidth];
      quad_of(value).store(lanes);
      quads[i] = V::load(reinterpret_cast<const float*>(lanes));
      if (c + 4 * i + 4 >= channels) {
        for (int rest = i + 1; rest < kWidth; ++rest) quads[rest] = V::broadcast(0);
        break;
      }
    }
    transpose(quads);
    const int64_t bytes = channels - c < 4 * kWidth ? channels - c : 4 * kWidth;
    for (int64_t i = 0; i < count; ++i) {
      uint8_t* const to = q + i * channels + c;
      if (bytes == 4 * kWidth) {
        __builtin_memcpy(to, &quads[i].v, 4 * kWidth);
      } else {
        __builtin_memcpy(to, &quads[i].v, bytes);
      }
    }
  }
}

// Row y of an image of floats, without its padding.
inline void quantize_row(const Int8Conv2dArgs& args, const float* image, int64_t y, const Quantizer& by,
                         uint8_t* q) {
  const int64_t channels = args.in_c();
  if (args.input_layout == MapLayout::kNhwc) {
    return quantize_line(image + y * args.w * channels, by, args.w * channels, q);
  }
  constexpr int kWidth = Vec<float>::kWidth;
  for (int64_t x = 0; x < args.w; x += kWidth) {
    quantize_pixels(image + y * args.w + x, args.h * args.w, args.w - x, channels, by, q + x * channels);
  }
}

// `count` values that lie side by side, with 128 added to them (flip = 0x80) or not (0).
inline void copy_line(const uint8_t* x, uint8_t flip, int64_t count, uint8_t* q) {
  if (flip == 0) {
    if (count > 0) std::memcpy(q, x, count);  // without channels there is no map
    return;
  }
  const uint64_t flips = flip * 0x0101010101010101u;
  for (; count >= 8; count -= 8, x += 8, q += 8) {
    uint64_t bytes;
    __builtin_memcpy(&bytes, x, 8);
    bytes ^= flips;
    __builtin_memcpy(q, &bytes, 8);
  }
  for (int64_t i = 0; i < count; ++i) q[i] = x[i] ^ flip;
}

// Row y of an image of 8-bit values, as copy_line.
inline void copy_row(const Int8Conv2dArgs& args, const uint8_t* image, int64_t y, uint8_t flip, uint8_t* q) {
  const int64_t channels = args.in_c(), plane = args.h * args.w;
  if (args.input_layout == MapLayout::kNhwc) {
    return copy_line(image + y * args.w * channels, flip, args.w * channels, q);
  }
  for (int64_t x = 0; x < args.w; ++x) {
    for (int64_t c = 0; c < channels; ++c) *q++ = image[c * plane + y * args.w + x] ^ flip;
  }
}

// Rows [begin, end) of the padded maps of all images.
inline void quantize_rows(const Int8ConvJob& job, int64_t begin, int64_t end) {
  const Int8Conv2dArgs& args = job.args;
  const int64_t channels = args.in_c(), line = job.padded_w() * channels, side = args.pad_w * channels;
  const int64_t image_size = channels * args.h * args.w;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / job.padded_h(), y = row % job.padded_h() - args.pad_h;
    const Quantizer& by = job.of[image];
    uint8_t* const q = job.stage + row * line;
    if (y < 0 || y >= args.h) {
      std::memset(q, int(by.zero), line);
      continue;
    }
    std::memset(q, int(by.zero), side);
    std::memset(q + line - side, int(by.zero), side);
    const int64_t at = (job.first_image + image) * image_size;
    if (args.input_type == Int8Input::kFloat) {
      quantize_row(args, static_cast<const float*>(args.input) + at, y, by, q + side);
    } else {
      const uint8_t flip = args.input_type == Int8Input::kInt8 ? 0x80 : 0;
      copy_row(args, static_cast<const uint8_t*>(args.input) + at, y, flip, q + side);
    }
  }
}
