// direct_conv2d of one instruction set: the stages, and a table of them for the host side.
#include "cpu/activation.inl"
#include "cpu/conv_output.inl"
#include "cpu/sgemm_micro.inl"
#include "cpu/direct_conv2d/columns.inl"
#include "cpu/direct_conv2d/gather.inl"

// Stage 1 for the blocks [begin, end). v: their gathered input; stage: scratch, stage_size() elements.
template <typename T>
void direct_gather(const DirectJob<T>& job, int64_t begin, int64_t end, T* v, T* stage) {
  if (job.depth == 0) return;
  (job.columns ? &gather_columns<T> : &gather_rows<T>)(job, begin, end, v, stage);
}

// Stage 2: sums = bias + gathered input * panel, for the blocks [begin, end); v: of block `begin`, at the
// panel's group of channels; sums: [pixel][kWidth].
template <typename T, int kWidth, bool kColumns>
void multiply_run(const DirectJob<T>& job, int64_t panel, int64_t begin, int64_t end, const T* v,
                  const T* bias, T* sums) {
  const T* b = job.packed_panel(panel);
  const PrefetchRun nothing_ahead{reinterpret_cast<const char*>(b), 0};
  int64_t slice = 0;
  do {  // also once where the depth is 0: the sums are the bias then
    const int64_t depth = job.depth - slice < kDirectSlice ? job.depth - slice : kDirectSlice;
    T* out = sums;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t rows = job.rows(block), group = panel / job.group_panels;
      const T* a = v + (block - begin) * job.block_stride() +
                   (group * job.depth_chunks() * 16 + slice) * (kColumns ? kColumnStep : rows);
      sgemm_micro<T, kWidth, kColumns>(rows)(a, b + slice * kWidth, slice ? out : bias, slice ? kWidth : 0,
                                             out, depth, {&nothing_ahead, 0, {nothing_ahead.line, 0}});
      out += rows * kWidth;
    }
    slice += kDirectSlice;
  } while (slice < job.depth);
}

template <typename T>
using MultiplyRun = void (*)(const DirectJob<T>& job, int64_t panel, int64_t begin, int64_t end, const T* v,
                             const T* bias, T* sums);

template <typename T>
MultiplyRun<T> select_multiply(bool wide, bool columns) {
  if (columns) return wide ? &multiply_run<T, kDirectPanel, true> : &multiply_run<T, kDirectHalfPanel, true>;
  return wide ? &multiply_run<T, kDirectPanel, false> : &multiply_run<T, kDirectHalfPanel, false>;
}

// Stage 3 in channels_last: sums of the pixels [first, first + count) go to out.
template <typename T>
void output_nhwc(const DirectJob<T>& job, const HalfPanel<T>& half, int64_t first, int64_t count,
                 const T* sums, int64_t width) {
  const auto& args = job.args;
  const bool clamped = half.channels == 16 && !args.skip && is_clamp(args.activation);
  const Vec<T> low = Vec<T>::broadcast(clamp_low<T>(args.activation));
  const Vec<T> high = Vec<T>::broadcast(clamp_high<T>(args.activation));
  for (int64_t p = first; p < first + count; ++p, sums += width) {
    T* out = args.out + p * args.filter.out_c + half.channel;
    if (clamped) {
      for (int c = 0; c < 16; c += Vec<T>::kWidth) {
        min(high, max(low, Vec<T>::load(sums + c))).store(out + c);
      }
      continue;
    }
    for (int64_t c = 0; c < half.channels; c += Vec<T>::kWidth) {
      const int64_t lanes = half.channels - c;
      const T* skip = args.skip ? args.skip + (out - args.out) + c : nullptr;
      finish(args, Vec<T>::load(sums + c), skip, lanes, Vec<T>::load(half.slope + c)).store_n(out + c, lanes);
    }
  }
}

// Stage 3 in NCHW, image by image.
template <typename T>
void output_nchw(const DirectJob<T>& job, const HalfPanel<T>& half, int64_t first, int64_t count,
                 const T* sums, int64_t width) {
  const int64_t plane = job.out_h * job.out_w;
  for (int64_t p = first; p < first + count;) {
    const int64_t image = p / plane, at = p % plane;
    const int64_t left = first + count - p, pixels = plane - at < left ? plane - at : left;
    const int64_t offset = (image * job.args.filter.out_c + half.channel) * plane + at;
    finish_pixels_nchw(job.args, half, offset, plane, pixels, sums + (p - first) * width, width);
    p += pixels;
  }
}

// Stages 2 and 3 of the blocks [begin, end) and one panel, by runs of blocks; v: of block `begin`; sums:
// scratch, sums_size() elements.
template <typename T>
void direct_panel(const DirectJob<T>& job, int64_t panel, int64_t begin, int64_t end, const T* v, T* sums) {
  const int64_t width = job.panel_width(panel), channel = job.panel_channel(panel),
                past = job.panel_end(panel);
  const HalfPanel<T> halves[2] = {{job.args, channel, past}, {job.args, channel + 16, past}};
  T bias[kDirectPanel];
  for (int c = 0; c < 32; ++c) bias[c] = halves[c / 16].bias[c % 16];
  const auto multiply = select_multiply<T>(width == kDirectPanel, job.columns);
  const auto output = job.args.out_layout == MapLayout::kNhwc ? &output_nhwc<T> : &output_nchw<T>;
  for (int64_t first = begin; first < end; first += kDirectRun) {
    const int64_t last = first + kDirectRun < end ? first + kDirectRun : end;
    multiply(job, panel, first, last, v + (first - begin) * job.block_stride(), bias, sums);
    const int64_t pixel = job.first_pixel(first), count = job.first_pixel(last) - pixel;
    for (int64_t c = 0; c < width && halves[c / 16].channels > 0; c += 16) {
      output(job, halves[c / 16], pixel, count, sums + c, width);
    }
  }
}

#include "cpu/direct_conv2d/strips.inl"

template <typename T>
DirectStages<T> direct_stages() {
  return {{kMicroRows, kColumnStep}, &direct_gather<T>, &direct_panel<T>, &strip_stage<T>, &strip_panel<T>};
}
