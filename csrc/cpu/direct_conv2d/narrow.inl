// Stages 2 and 3 for up to kNarrowChannels output channels, which would fill a small part of a vector: here a
// vector holds values under the filter, of as many sums as there are lanes, which are added up at the end.

inline constexpr int kNarrowRows =
    4;  // output pixels at a time: with 4 channels 16 sums and the loads fit in registers

// partial[channel][kNarrowBlock][lane] for kNarrowRows pixels; rows: where the values under the filter of
// each begin, weight: [channel][depth].
template <typename T, int kChannels>
void narrow_sums(const StripJob<T>& job, const T* const (&rows)[kNarrowRows], const int64_t* runs,
                 const T* weight, T* partial) {
  constexpr int kWidth = Vec<T>::kWidth;
  Vec<T> sum[kNarrowRows][kChannels];
#pragma GCC unroll 4
  for (int i = 0; i < kNarrowRows; ++i)
#pragma GCC unroll 4
    for (int c = 0; c < kChannels; ++c) sum[i][c] = Vec<T>::broadcast(0);
  const int64_t length = job.strip.run_length;
  for (int64_t run = 0; run < job.strip.runs; ++run, weight += length) {
    const T *row0 = rows[0] + runs[run], *row1 = rows[1] + runs[run], *row2 = rows[2] + runs[run],
            *row3 = rows[3] + runs[run];
    for (int64_t k = 0; k < length; k += kWidth) {
      const int64_t lanes = length - k;
      const bool whole = lanes >= kWidth;
      const Vec<T> a[kNarrowRows] = {whole ? Vec<T>::load(row0 + k) : Vec<T>::load_n(row0 + k, lanes),
                                     whole ? Vec<T>::load(row1 + k) : Vec<T>::load_n(row1 + k, lanes),
                                     whole ? Vec<T>::load(row2 + k) : Vec<T>::load_n(row2 + k, lanes),
                                     whole ? Vec<T>::load(row3 + k) : Vec<T>::load_n(row3 + k, lanes)};
#pragma GCC unroll 4
      for (int c = 0; c < kChannels; ++c) {
        const T* w = weight + c * job.depth + k;
        const Vec<T> b = whole ? Vec<T>::load(w) : Vec<T>::load_n(w, lanes);
#pragma GCC unroll 4
        for (int i = 0; i < kNarrowRows; ++i) sum[i][c] = fma(a[i], b, sum[i][c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int c = 0; c < kChannels; ++c)
#pragma GCC unroll 4
    for (int i = 0; i < kNarrowRows; ++i) sum[i][c].store(partial + (c * kNarrowBlock + i) * kWidth);
}

// Adds up the lanes of the pixels of one channel; sums: [pixel], `step` apart.
template <typename T>
void add_lanes(const T* partial, T bias, T low, T high, int64_t count, T* sums, int64_t step) {
  constexpr int kWidth = Vec<T>::kWidth;
  for (int64_t first = 0; first < count; first += kWidth) {
    Vec<T> block[kWidth];
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) block[i] = Vec<T>::load(partial + (first + i) * kWidth);
    transpose(block);
#pragma GCC unroll 4
    for (int half = kWidth / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) block[i] = block[i] + block[i + half];
    const Vec<T> value = block[0] + Vec<T>::broadcast(bias);
    T pixels[kWidth];
    min(Vec<T>::broadcast(high), max(Vec<T>::broadcast(low), value)).store(pixels);
    const int64_t left = count - first < kWidth ? count - first : kWidth;
    for (int64_t i = 0; i < left; ++i) sums[(first + i) * step] = pixels[i];
  }
}

// One block of output pixels from `a` on; scratch: partial sums, then what goes to the output.
template <typename T, int kChannels>
void narrow_block(const StripJob<T>& job, const StripPanel<T>& panel, const StripPixels& pixels, const T* a,
                  const int64_t* runs, const T* weight, T* scratch) {
  const int64_t advance = job.pixel_advance(), last = pixels.count - 1;
  for (int64_t first = 0; first < pixels.count; first += kNarrowRows) {
    const T* rows[kNarrowRows];
    for (int64_t i = 0; i < kNarrowRows; ++i) rows[i] = a + (first + i < last ? first + i : last) * advance;
    narrow_sums<T, kChannels>(job, rows, runs, weight, scratch + first * Vec<T>::kWidth);
  }
  T* line = scratch + kNarrowChannels * kNarrowBlock * Vec<T>::kWidth;
  const int64_t step = panel.direct ? kChannels : kDirectPanel;
  const Activation activation = panel.direct ? job.args.activation : Activation::kNone;
  const T low = clamp_low<T>(activation), high = clamp_high<T>(activation);
  for (int c = 0; c < kChannels; ++c) {
    add_lanes(scratch + c * kNarrowBlock * Vec<T>::kWidth, panel.bias[c], low, high, pixels.count, line + c,
              step);
  }
  if (panel.direct) {
    copy_run(line, pixels.count * kChannels, job.args.out + pixels.first * kChannels);
  } else {
    output_nhwc(job, panel.halves[0], pixels.first, pixels.count, line, kDirectPanel);
  }
}

// The units [begin, end); scratch: narrow_size() elements.
template <typename T>
void narrow_panel(const StripJob<T>& job, int64_t begin, int64_t end, const int64_t* runs, const T* stage,
                  T* scratch) {
  const StripPanel<T> panel(job, 0);
  const int64_t channels = job.args.filter.out_c;
  T* weight = scratch + kNarrowScratch;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < job.depth; ++k)
      weight[c * job.depth + k] = job.packed_panel(0)[k * panel.width + c];
  }
  const auto block = channels == 1   ? &narrow_block<T, 1>
                     : channels == 2 ? &narrow_block<T, 2>
                     : channels == 3 ? &narrow_block<T, 3>
                                     : &narrow_block<T, 4>;
  for (int64_t unit = begin; unit < end; ++unit) {
    for (int64_t i = 0; i < job.strip.unit_blocks; ++i) {
      const int64_t first = job.block_begin(unit, i);
      const StripPixels pixels{unit, first, job.block_begin(unit, i + 1) - first};
      block(job, panel, pixels, strip_input(job, stage, begin, unit, first), runs, weight, scratch);
    }
  }
}
