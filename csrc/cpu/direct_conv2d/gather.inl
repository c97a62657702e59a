// Stage 1 for channels_last: the input values under the filter, for a block of output pixels, stored as the a
// panels of the micro-kernel. Channels are adjacent, so whole runs of them are copied.

struct OutputPixel {
  int64_t image, y, x;
};

template <typename T>
GK_INLINE OutputPixel output_pixel(const DirectJob<T>& job, int64_t index) {
  const int64_t row = index / job.out_w;
  return {row / job.out_h, row % job.out_h, index % job.out_w};
}

// Appends to one row of an a panel; counts are multiples of 16.
template <typename T>
struct ChunkSink {
  T* a;
  int64_t stride;  // from one chunk of 16 of the row to the next

  GK_INLINE void copy(const T* src, int64_t count) {
    for (int64_t i = 0; i < count; i += 16, a += stride) {
      for (int c = 0; c < 16; c += Vec<T>::kWidth) Vec<T>::load(src + i + c).store(a + c);
    }
  }
  GK_INLINE void zero(int64_t count) {
    for (int64_t i = 0; i < count; i += 16, a += stride) {
      for (int c = 0; c < 16; c += Vec<T>::kWidth) Vec<T>::broadcast(0).store(a + c);
    }
  }
};

// Appends to a line of any counts; also writes up to a vector past its end.
template <typename T>
struct LineSink {
  T* line;

  GK_INLINE void copy(const T* src, int64_t count) {
    constexpr int kWidth = Vec<T>::kWidth;
    int64_t i = 0;
    for (; i + kWidth <= count; i += kWidth) Vec<T>::load(src + i).store(line + i);
    if (i < count) Vec<T>::load_n(src + i, count - i).store(line + i);
    line += count;
  }
  GK_INLINE void zero(int64_t count) {
    for (int64_t i = 0; i < count; i += Vec<T>::kWidth) Vec<T>::broadcast(0).store(line + i);
    line += count;
  }
};

// What the filter sees of the channels [channel, channel + group_in_c) at an output pixel, tap by tap.
template <typename T, typename Sink>
GK_INLINE void gather_pixel(const DirectJob<T>& job, OutputPixel pixel, int64_t channel, Sink sink) {
  const auto& args = job.args;
  const DirectFilter& filter = args.filter;
  const int64_t top = pixel.y * args.stride_h - args.pad_h, left = pixel.x * args.stride_w - args.pad_w;
  const int64_t right = left + (filter.kernel_w - 1) * args.dilation_w;  // of the last tap
  const bool adjacent = args.dilation_w == 1 && filter.groups == 1;      // the taps of a row, in memory
  for (int64_t i = 0; i < filter.kernel_h; ++i) {
    const int64_t row = top + i * args.dilation_h;
    if (row < 0 || row >= args.h) {
      sink.zero(filter.kernel_w * filter.group_in_c);
      continue;
    }
    const T* pixels = args.input + (pixel.image * args.h + row) * args.w * job.in_c + channel;
    if (adjacent && left >= 0 && right < args.w) {
      sink.copy(pixels + left * job.in_c, filter.kernel_w * filter.group_in_c);
      continue;
    }
    for (int64_t col = left; col <= right; col += args.dilation_w) {
      if (col >= 0 && col < args.w) {
        sink.copy(pixels + col * job.in_c, filter.group_in_c);
      } else {
        sink.zero(filter.group_in_c);
      }
    }
  }
}

// One row of the a panel of one group of channels; stride: from one chunk of 16 of the row to the next.
template <typename T>
GK_INLINE void gather_row(const DirectJob<T>& job, OutputPixel pixel, int64_t channel, T* a, int64_t stride,
                          T* line) {
  if (job.args.filter.group_in_c % 16 == 0) {
    gather_pixel(job, pixel, channel, ChunkSink<T>{a, stride});
  } else {
    gather_pixel(job, pixel, channel, LineSink<T>{line});
    ChunkSink<T>{a, stride}.copy(line, job.depth_chunks() * 16);
  }
}

// v: [block][group of channels][chunk][row][16] of the blocks [begin, end); line: scratch for one pixel.
template <typename T>
void gather_rows(const DirectJob<T>& job, int64_t begin, int64_t end, T* v, T* line) {
  for (int64_t block = begin; block < end; ++block, v += job.block_stride()) {
    const int64_t rows = job.rows(block), chunk = rows * 16;
    OutputPixel pixel = output_pixel(job, job.first_pixel(block));
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t group = 0; group < job.args.filter.groups; ++group) {
        T* a = v + group * job.depth_chunks() * chunk + r * 16;
        gather_row(job, pixel, group * job.args.filter.group_in_c, a, chunk, line);
      }
      if (++pixel.x < job.out_w) continue;
      pixel.x = 0;
      if (++pixel.y < job.out_h) continue;
      pixel.y = 0;
      ++pixel.image;
    }
  }
}
