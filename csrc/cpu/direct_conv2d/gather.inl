// Stage 1: the input values under the filter, for a block of output pixels, stored as the a panels of the
// micro-kernel.

// The input pixels that a range of output pixels reads, channels adjacent: the input map itself, or a part of
// an NCHW map on stage.
template <typename T>
struct DirectWindow {
  const T* data;      // [row][w][in_c]
  int64_t first_row;  // of the input map, at data
  int64_t end;        // one past the last output pixel that reads it
  int64_t y, x;       // of the first output pixel that reads it
};

// dst[pixel][channels] from `count` adjacent pixels of `channels` planes. Also writes a vector past the end.
// Channels in descending order: the vector that holds the last ones of a pixel runs into the next pixel's
// first.
template <typename T>
void interleave_planes(const T* src, int64_t plane, int64_t channels, int64_t count, T* dst) {
  constexpr int kWidth = Vec<T>::kWidth;
  for (int64_t c = (channels - 1) / kWidth * kWidth; c >= 0; c -= kWidth) {
    for (int64_t x = 0; x < count; x += kWidth) {
      Vec<T> block[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        const int64_t left = c + i < channels ? count - x : 0;
        const T* row = src + (left > 0 ? (c + i) * plane + x : 0);
        block[i] = left >= kWidth ? Vec<T>::load(row) : Vec<T>::load_n(row, left);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        if (x + i < count) block[i].store(dst + (x + i) * channels + c);
      }
    }
  }
}

// Puts the input rows [begin, end) of an NCHW image on stage, those that a filter of one row skips left out.
template <typename T>
void stage_rows(const DirectJob<T>& job, int64_t image, int64_t begin, int64_t end, T* stage) {
  const auto& args = job.args;
  const int64_t plane = args.h * args.w, step = args.filter.kernel_h == 1 ? args.stride_h : 1;
  const T* src = args.input + image * job.in_c * plane;
  if (step == 1) {  // rows follow on each other in the planes
    return interleave_planes(src + begin * args.w, plane, job.in_c, (end - begin) * args.w, stage);
  }
  const int64_t first = (begin + args.pad_h + step - 1) / step * step - args.pad_h;
  for (int64_t row = first; row < end; row += step) {
    interleave_planes(src + row * args.w, plane, job.in_c, args.w, stage + (row - begin) * args.w * job.in_c);
  }
}

// The window of the output pixels from `pixel` on, up to `end` or the end of the image.
template <typename T>
DirectWindow<T> open_window(const DirectJob<T>& job, int64_t pixel, int64_t end, T* stage) {
  const auto& args = job.args;
  const int64_t map = job.out_h * job.out_w, image = pixel / map, image_end = (image + 1) * map;
  DirectWindow<T> window{};
  window.end = end < image_end ? end : image_end;
  window.y = pixel % map / job.out_w;
  window.x = pixel % map % job.out_w;
  if (args.input_layout == MapLayout::kNhwc) {
    window.data = args.input + image * args.h * args.w * job.in_c;
    return window;
  }
  const int64_t last_y = (window.end - 1) % map / job.out_w;
  const int64_t begin = window.y * args.stride_h - args.pad_h;
  const int64_t below =
      last_y * args.stride_h - args.pad_h + (args.filter.kernel_h - 1) * args.dilation_h + 1;
  window.data = stage;
  window.first_row = begin > 0 ? begin : 0;
  const int64_t rows_end = below < args.h ? below : args.h;
  if (window.first_row < rows_end) stage_rows(job, image, window.first_row, rows_end, stage);
  return window;
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

// What the filter sees of the channels [channel, channel + group_in_c) at output pixel (y, x), tap by tap.
template <typename T, typename Sink>
GK_INLINE void gather_pixel(const DirectJob<T>& job, const DirectWindow<T>& window, int64_t y, int64_t x,
                            int64_t channel, Sink sink) {
  const auto& args = job.args;
  const DirectFilter& filter = args.filter;
  const int64_t top = y * args.stride_h - args.pad_h, left = x * args.stride_w - args.pad_w;
  const int64_t right = left + (filter.kernel_w - 1) * args.dilation_w;  // of the last tap
  const bool adjacent = args.dilation_w == 1 && filter.groups == 1;      // the taps of a row, in memory
  for (int64_t i = 0; i < filter.kernel_h; ++i) {
    const int64_t row = top + i * args.dilation_h;
    if (row < 0 || row >= args.h) {
      sink.zero(filter.kernel_w * filter.group_in_c);
      continue;
    }
    const T* pixels = window.data + (row - window.first_row) * args.w * job.in_c + channel;
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
GK_INLINE void gather_row(const DirectJob<T>& job, const DirectWindow<T>& window, int64_t y, int64_t x,
                          int64_t channel, T* a, int64_t stride, T* line) {
  if (job.args.filter.group_in_c % 16 == 0) {
    gather_pixel(job, window, y, x, channel, ChunkSink<T>{a, stride});
  } else {
    gather_pixel(job, window, y, x, channel, LineSink<T>{line});
    ChunkSink<T>{a, stride}.copy(line, job.depth_chunks() * 16);
  }
}

// v: [block][group of channels][chunk][row][16] of the blocks [begin, end); stage: stage_size() elements,
// then line_size().
template <typename T>
void direct_gather(const DirectJob<T>& job, int64_t begin, int64_t end, T* v, T* stage) {
  if (job.depth == 0) return;
  T* line = stage + job.stage_size();
  const int64_t last = job.first_pixel(end);
  DirectWindow<T> window{};
  for (int64_t block = begin; block < end; ++block, v += job.block_stride()) {
    const int64_t rows = job.rows(block), chunk = rows * 16, first = job.first_pixel(block);
    for (int64_t r = 0; r < rows; ++r) {
      if (first + r == window.end || (block == begin && r == 0))
        window = open_window(job, first + r, last, stage);
      for (int64_t group = 0; group < job.args.filter.groups; ++group) {
        T* a = v + group * job.depth_chunks() * chunk + r * 16;
        gather_row(job, window, window.y, window.x, group * job.args.filter.group_in_c, a, chunk, line);
      }
      if (++window.x == job.out_w) {
        window.x = 0;
        ++window.y;
      }
    }
  }
}
