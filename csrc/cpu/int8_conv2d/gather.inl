// Stage 2 of int8_conv2d: what the filter sees at a block of output pixels, as the rows of the product,
// [chunk of 64 of the depth][row][64]. The stage holds the padding, so there is no edge to look for.

GK_INLINE void copy_chunk(const uint8_t* from, uint8_t* to) { __builtin_memcpy(to, from, 64); }
GK_INLINE void copy_chunk(const uint8_t* from, int8_t* to) {
  for (int i = 0; i < 64; ++i) to[i] = int8_t(from[i] ^ 0x80);
}
GK_INLINE void copy_chunk(const uint8_t* from, int16_t* to) {
  for (int i = 0; i < 64; ++i) to[i] = from[i];
}

// The pixels of the output, one after the other.
struct ConvPixel {
  const Int8ConvJob& job;
  int64_t image, y, x;

  ConvPixel(const Int8ConvJob& j, int64_t index) : job(j) {
    image = index / job.out_plane();
    y = index % job.out_plane() / job.args.out_w;
    x = index % job.args.out_w;
  }
  // The first value under the filter, of input channel 0.
  GK_INLINE const uint8_t* corner() const {
    const Int8Conv2dArgs& args = job.args;
    const int64_t row = image * job.padded_h() + y * args.stride_h;
    return job.stage + (row * job.padded_w() + x * args.stride_w) * args.in_c();
  }
  GK_INLINE void advance() {
    if (++x < job.args.out_w) return;
    x = 0;
    if (++y < job.args.out_h) return;
    y = 0;
    ++image;
  }
};

// Calls copy(run) for each run of values under a filter whose first value is at `corner`.
template <typename Copy>
GK_INLINE void for_each_run(const Int8ConvJob& job, const uint8_t* corner, const Copy& copy) {
  const Int8Conv2dArgs& args = job.args;
  const int64_t in_c = args.in_c(), down = args.dilation_h * job.padded_w() * in_c;
  const bool whole = job.run() != args.filter.group_in_c;
  const int64_t runs = whole ? 1 : args.filter.kernel_w, right = args.dilation_w * in_c;
  for (int64_t i = 0; i < args.filter.kernel_h; ++i, corner += down) {
    for (int64_t j = 0; j < runs; ++j) copy(corner + j * right);
  }
}

// Runs of whole chunks go straight to their place, of a row with `stride` from one chunk to the next.
template <typename Element>
GK_INLINE void gather_chunks(const Int8ConvJob& job, const uint8_t* corner, Element* a, int64_t stride) {
  const int64_t run = job.run();
  for_each_run(job, corner, [&](const uint8_t* from) {
    for (int64_t i = 0; i < run; i += 64, a += stride) copy_chunk(from + i, a);
  });
}

// Runs of any length are put side by side first.
GK_INLINE void gather_line(const Int8ConvJob& job, const uint8_t* corner, uint8_t* line) {
  const int64_t run = job.run();
  for_each_run(job, corner, [&](const uint8_t* from) {
    for (int64_t i = 0; i < run; i += 64) __builtin_memcpy(line + i, from + i, 64);
    line += run;
  });
}

// The pixels of the blocks [begin, end); channel: the first input channel of the group.
template <bool kVnni>
void gather_blocks(const Int8ConvJob& job, const Int8Product& product, int64_t channel, int64_t begin,
                   int64_t end, void* v, uint8_t* lines) {
  auto* a = static_cast<typename Dot<kVnni>::Element*>(v);
  const bool whole_chunks = job.run() % 64 == 0;
  const int64_t line = job.line_bytes(), chunks = product.chunks();
  ConvPixel pixel(job, product.first_row(begin));
  for (int64_t block = begin; block < end; ++block, a += product.block_stride()) {
    const int64_t count = product.rows(block);
    for (int64_t r = 0; r < count; ++r, pixel.advance()) {
      if (whole_chunks) {
        gather_chunks(job, pixel.corner() + channel, a + r * 64, count * 64);
      } else {
        gather_line(job, pixel.corner() + channel, lines + r * line);
      }
    }
    if (whole_chunks) continue;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t c = 0; c < chunks; ++c) copy_chunk(lines + r * line + c * 64, a + (c * count + r) * 64);
    }
  }
}
