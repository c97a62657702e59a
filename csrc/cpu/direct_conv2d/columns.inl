// Stage 1 for NCHW, and for channels_last input of few channels: for each product of the sum, the input
// values of a block of output pixels side by side, which is how they lie in the planes of the input (one
// column of a panel).

// Planes from which a range of output pixels of one image reads without looking at borders or strides.
template <typename T>
struct DirectPlanes {
  const T* data;  // [channel][row][phase = column % stride_w][column / stride_w], padding included
  int64_t channel_stride, row_stride, phase_stride;
  int64_t out_row;  // rows from one output row to the next
  int64_t y;        // the output row that begins at `data`
  int64_t end;      // one past the last output pixel of the range
};

// dst[phase][i] = column i * stride_w + phase - pad_w of a row whose pixels are `step` apart; 0 outside of
// it.
template <typename T>
void stage_row(const DirectJob<T>& job, const T* row, int64_t step, T* dst) {
  const auto& args = job.args;
  for (int64_t phase = 0; phase < job.phases; ++phase, dst += job.phase_width) {
    const int64_t first = phase - args.pad_w;  // column of i = 0
    const int64_t begin = first >= 0 ? 0 : (-first + args.stride_w - 1) / args.stride_w;
    const int64_t columns = args.w - first;  // i * stride_w must be below
    const int64_t fit = columns <= 0 ? 0 : (columns + args.stride_w - 1) / args.stride_w;
    const int64_t end = fit < job.phase_width ? fit : job.phase_width;
    const int64_t stride = args.stride_w * step;
    int64_t i = 0;
    for (; i < begin && i < job.phase_width; ++i) dst[i] = 0;
    const T* src = row + first * step;
    if (stride == 1) {
      for (; i < end; ++i) dst[i] = src[i];
    } else if (stride == 2) {
      for (; i < end; ++i) dst[i] = src[i * 2];
    } else {
      for (; i < end; ++i) dst[i] = src[i * stride];
    }
    for (; i < job.phase_width; ++i) dst[i] = 0;
  }
}

// Fills `stage` for the output rows [y, y_end) of an image.
template <typename T>
void stage_planes(const DirectJob<T>& job, int64_t image, int64_t y, int64_t y_end, T* stage) {
  const auto& args = job.args;
  const bool nhwc = args.input_layout == MapLayout::kNhwc;
  const int64_t step = job.staged_row_step(), width = job.phases * job.phase_width;
  const int64_t rows = job.staged_rows(y_end - y), top = y * args.stride_h - args.pad_h;
  const T* map = args.input + image * job.in_c * args.h * args.w;
  for (int64_t c = 0; c < job.in_c; ++c) {
    for (int64_t r = 0; r < rows; ++r, stage += width) {
      const int64_t row = top + r * step;
      if (row < 0 || row >= args.h) {
        for (int64_t i = 0; i < width; ++i) stage[i] = 0;
      } else if (nhwc) {
        stage_row(job, map + row * args.w * job.in_c + c, job.in_c, stage);
      } else {
        stage_row(job, map + (c * args.h + row) * args.w, 1, stage);
      }
    }
  }
}

// The planes of the output pixels from `pixel` on, up to `end` or the end of the image.
template <typename T>
DirectPlanes<T> open_planes(const DirectJob<T>& job, int64_t pixel, int64_t end, T* stage) {
  const auto& args = job.args;
  const int64_t map = job.out_h * job.out_w, image = pixel / map, image_end = (image + 1) * map;
  DirectPlanes<T> planes{};
  planes.end = end < image_end ? end : image_end;
  if (job.staged) {
    planes.y = pixel % map / job.out_w;
    const int64_t y_end = (planes.end - 1) % map / job.out_w + 1, step = job.staged_row_step();
    stage_planes(job, image, planes.y, y_end, stage);
    planes.data = stage;
    planes.row_stride = job.phases * job.phase_width;
    planes.phase_stride = job.phase_width;
    planes.channel_stride = job.staged_rows(y_end - planes.y) * planes.row_stride;
    planes.out_row = args.stride_h / step;
  } else {
    planes.data = args.input + image * job.in_c * args.h * args.w;
    planes.row_stride = args.w;
    planes.channel_stride = args.h * args.w;
    planes.out_row = 1;
  }
  return planes;
}

// Output pixels of a block that lie in one row.
template <typename T>
struct DirectSegment {
  const T* src;  // of the first tap in the first channel
  int64_t at, count;
};

template <typename T>
struct DirectSegments {
  DirectSegment<T> list[kMicroRows];
  int count = 0;
};

// Cuts the pixels [pixel, pixel + count), all of `planes`, into segments; the first one is at row `at` of the
// block.
template <typename T>
void append_segments(const DirectJob<T>& job, const DirectPlanes<T>& planes, int64_t pixel, int64_t count,
                     int64_t at, DirectSegments<T>& segments) {
  const int64_t map = job.out_h * job.out_w;
  while (count > 0) {
    const int64_t y = pixel % map / job.out_w, x = pixel % job.out_w;
    // Without a filter that reaches over, rows follow on each other in input and output alike.
    const int64_t left = job.flat ? count : job.out_w - x, length = left < count ? left : count;
    const T* src = planes.data + (y - planes.y) * planes.out_row * planes.row_stride + x;
    segments.list[segments.count++] = {src, at, length};
    pixel += length, at += length, count -= length;
  }
}

template <typename T>
GK_INLINE void copy_pixels(const T* src, int64_t count, T* dst) {
  constexpr int kWidth = Vec<T>::kWidth;
  if constexpr (kWidth > 1) {
    static_assert(kMicroRows <= 2 * kWidth, "two vectors hold the pixels of any segment");
    Vec<T>::load_n(src, count).store_n(dst, count);
    if (kMicroRows > kWidth && count > kWidth) {
      Vec<T>::load_n(src + kWidth, count - kWidth).store_n(dst + kWidth, count - kWidth);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) dst[i] = src[i];
  }
}

// The columns of the first kSegments segments, or of all for kSegments = 0: a[depth][kColumnStep]. With their
// number known, a column of one segment is a load and a store.
template <typename T, int kSegments>
void copy_columns(const DirectJob<T>& job, const DirectPlanes<T>& planes, int64_t channel,
                  const DirectSegments<T>& segments, T* a) {
  const auto& args = job.args;
  const DirectSegment<T> first = segments.list[0], second = segments.list[kSegments == 2 ? 1 : 0];
  const int64_t channels = args.filter.group_in_c, channel_stride = planes.channel_stride;
  for (int64_t i = 0; i < args.filter.kernel_h; ++i) {
    for (int64_t j = 0; j < args.filter.kernel_w; ++j) {
      const int64_t column = j * args.dilation_w;
      int64_t offset = channel * channel_stride + i * args.dilation_h * planes.row_stride +
                       column % args.stride_w * planes.phase_stride + column / args.stride_w;
      for (int64_t c = 0; c < channels; ++c, offset += channel_stride, a += kColumnStep) {
        copy_pixels(first.src + offset, first.count, a + first.at);
        if (kSegments == 2) copy_pixels(second.src + offset, second.count, a + second.at);
        for (int s = 1; kSegments == 0 && s < segments.count; ++s) {
          const auto& segment = segments.list[s];
          copy_pixels(segment.src + offset, segment.count, a + segment.at);
        }
      }
    }
  }
}

// v: [block][group of channels][depth][kColumnStep] of the blocks [begin, end).
template <typename T>
void gather_columns(const DirectJob<T>& job, int64_t begin, int64_t end, T* v, T* stage) {
  const int64_t last = job.first_pixel(end);
  DirectPlanes<T> planes{};
  for (int64_t block = begin; block < end; ++block, v += job.block_stride()) {
    const int64_t first = job.first_pixel(block), rows = job.rows(block);
    for (int64_t r = 0; r < rows;) {  // a block may span images
      if (first + r >= planes.end) planes = open_planes(job, first + r, last, stage);
      const int64_t left = planes.end - first - r, count = left < rows - r ? left : rows - r;
      DirectSegments<T> segments;
      append_segments(job, planes, first + r, count, r, segments);
      for (int64_t group = 0; group < job.args.filter.groups; ++group) {
        T* a = v + group * job.depth_chunks() * 16 * kColumnStep;
        const auto copy = segments.count == 1   ? &copy_columns<T, 1>
                          : segments.count == 2 ? &copy_columns<T, 2>
                                                : &copy_columns<T, 0>;
        copy(job, planes, group * job.args.filter.group_in_c, segments, a);
      }
      r += count;
    }
  }
}
