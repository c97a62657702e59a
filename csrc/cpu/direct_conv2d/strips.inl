// Strips: stage 1 copies input rows with their padding, where there is any; stages 2 and 3 are those of
// strip_micro.inl for each block of output pixels.
#include "cpu/direct_conv2d/strip_micro.inl"

template <typename T>
GK_INLINE void copy_run(const T* src, int64_t count, T* dst) {
  constexpr int kWidth = Vec<T>::kWidth;
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) Vec<T>::load(src + i).store(dst + i);
  if (i < count) Vec<T>::load_n(src + i, count - i).store_n(dst + i, count - i);
}

template <typename T>
GK_INLINE void zero_run(int64_t count, T* dst) {
  for (int64_t i = 0; i < count; ++i) dst[i] = 0;
}

// Stage 1: the input rows under the output rows [begin, end), all of one image, with their padding.
template <typename T>
void strip_stage(const StripJob<T>& job, int64_t begin, int64_t end, T* stage) {
  const auto& args = job.args;
  const StripPlan& strip = job.strip;
  const int64_t columns = job.staged_columns(), rows = job.strip_rows(end - begin), step = strip.pixel_step;
  const int64_t left = (args.pad_w + strip.column_stride - 1) / strip.column_stride;
  const int64_t first = left < columns ? left : columns;  // staged columns that stand for input columns
  const int64_t right = args.w + args.pad_w ? (args.w + args.pad_w - 1) / strip.column_stride + 1 : 0;
  const int64_t past = right < first ? first : right < columns ? right : columns;
  const T* map = args.input + begin / job.out_h * args.h * args.w * job.in_c;
  for (int64_t r = 0; r < rows; ++r, stage += strip.row_step) {
    const int64_t row = begin % job.out_h * args.stride_h - args.pad_h + r * strip.row_stride;
    if (row < 0 || row >= args.h) {
      zero_run(strip.row_step, stage);
      continue;
    }
    const T* src = map + (row * args.w + first * strip.column_stride - args.pad_w) * job.in_c;
    zero_run(first * step, stage);
    if (step == job.in_c && strip.column_stride == 1) {
      copy_run(src, (past - first) * step, stage + first * step);
    } else {
      for (int64_t x = first; x < past; ++x, src += strip.column_stride * job.in_c)
        copy_run(src, job.in_c, stage + x * step);
    }
    zero_run((columns - past) * step, stage + past * step);
  }
}

// The value under the first tap of an output pixel of `unit`; begin: the unit that stage begins with.
template <typename T>
const T* strip_input(const StripJob<T>& job, const T* stage, int64_t begin, int64_t unit, int64_t pixel) {
  const auto& args = job.args;
  if (job.strip.flat) return args.input + pixel * job.in_c;
  const int64_t across = (pixel - unit * job.out_w) * job.pixel_advance();
  if (job.strip.staged) return stage + (unit - begin) * job.row_advance() + across;
  const int64_t row = unit / job.out_h * args.h + unit % job.out_h * args.stride_h;
  return args.input + row * job.strip.row_step + across;
}

// What all blocks of a panel share.
template <typename T>
struct StripPanel {
  int64_t panel, width, channel, past, input_channel;
  bool direct;  // from the sums of the micro-kernel to the output map
  HalfPanel<T> halves[2];
  T bias[kDirectPanel];

  StripPanel(const StripJob<T>& job, int64_t p)
      : panel(p),
        width(job.panel_width(p)),
        channel(job.panel_channel(p)),
        past(job.panel_end(p)),
        input_channel(p / job.group_panels * job.args.filter.group_in_c),
        direct(!job.args.skip && is_clamp(job.args.activation)),
        halves{{job.args, channel, past}, {job.args, channel + 16, past}} {
    for (int c = 0; c < kDirectPanel; ++c) bias[c] = halves[c / 16].bias[c % 16];
  }
};

// Output pixels of a block, all of `unit`; and which part of the next panel it fetches, in bytes.
struct StripPixels {
  int64_t unit, first, count;
  int64_t skipped, part;
};

// What a slice of the depth multiplies; a: the first value under the filter, of the first group of channels.
template <typename T>
StripBlock<T> slice_inputs(const StripJob<T>& job, const StripPanel<T>& panel, const T* a, int64_t slice,
                           const int64_t* runs) {
  const StripPlan& strip = job.strip;
  const StripSlices& slices = strip.slices;
  const int64_t run = slice / slices.cuts * slices.runs;
  const int64_t cut = slice % slices.cuts * slices.run_length;  // within a run
  const int64_t runs_left = strip.runs - run, length_left = strip.run_length - cut;
  StripBlock<T> block{};
  block.low = clamp_low<T>(Activation::kNone);
  block.high = clamp_high<T>(Activation::kNone);
  block.a = a + panel.input_channel + cut;
  block.pixel_step = job.pixel_advance();
  block.runs = runs + run;
  block.run_count = slices.runs < runs_left ? slices.runs : runs_left;
  block.run_length = slices.run_length < length_left ? slices.run_length : length_left;
  block.b = job.packed_panel(panel.panel) + (run * strip.run_length + cut) * panel.width;
  return block;
}

// Bytes of the next panel of the weight that each of `parts` blocks fetches, whole lines; 0 where there is
// none.
template <typename T>
int64_t weight_part(const StripJob<T>& job, const StripPanel<T>& panel, int64_t parts) {
  const bool next = panel.panel + 1 < job.panels && (panel.panel > 0 || !job.strip.flat);
  const int64_t bytes = next ? job.depth * job.panel_width(panel.panel + 1) * int64_t{sizeof(T)} : 0;
  return (bytes + parts * kCacheLine - 1) / (parts * kCacheLine) * kCacheLine;
}

// The lines that will be needed: of the output by the next block; of an input that is read in place too, by
// the first panel; and by the others `part` bytes of the next panel from `skipped` bytes on.
template <typename T>
void fetch_next(const StripJob<T>& job, const StripPanel<T>& panel, int64_t pixels, const T* out,
                int64_t skipped, int64_t part, StripBlock<T>& block) {
  const int64_t steps = block.run_count * (block.run_length / kFetchDepth);
  if (steps == 0) return;
  const int64_t out_step = job.args.filter.out_c;
  block.output = {reinterpret_cast<const char*>(out + pixels * out_step), int64_t(out_step * sizeof(T)),
                  (pixels + steps - 1) / steps};
  if (part > 0) {
    const char* next = reinterpret_cast<const char*>(job.packed_panel(panel.panel + 1));
    block.input = {next + skipped, kCacheLine, (part / kCacheLine + steps - 1) / steps};
  }
  if (panel.panel > 0 || !job.strip.flat) return;
  const int64_t lines = pixels * block.run_length * int64_t{sizeof(T)} / kCacheLine;
  block.input = {reinterpret_cast<const char*>(block.a + pixels * job.in_c), kCacheLine,
                 (lines + steps - 1) / steps};
}

// Multiplies one slice of the depth for a block; sums: of the block, between slices.
template <typename T>
void strip_slice(const StripJob<T>& job, const StripPanel<T>& panel, const StripPixels& pixels, const T* a,
                 int64_t slice, const int64_t* runs, T* sums) {
  StripBlock<T> block = slice_inputs(job, panel, a, slice, runs);
  block.start = slice ? sums : panel.bias;
  block.start_step = slice ? kDirectPanel : 0;
  block.out = sums;
  block.out_step = kDirectPanel;
  block.channels = panel.width;
  if (slice + 1 == job.strip.slices.count) {
    const int64_t out_c = job.args.filter.out_c, channels = panel.past - panel.channel;
    T* out = job.args.out + pixels.first * out_c + panel.channel;
    fetch_next(job, panel, pixels.count, out, pixels.skipped, pixels.part, block);
    if (panel.direct) {
      block.out = out;
      block.out_step = out_c;
      block.channels = channels < panel.width ? channels : panel.width;
      block.low = clamp_low<T>(job.args.activation);
      block.high = clamp_high<T>(job.args.activation);
    }
  }
  const auto micro = panel.width == kDirectPanel ? strip_micro<T, kDirectPanel>(pixels.count)
                                                 : strip_micro<T, kDirectHalfPanel>(pixels.count);
  micro(block);
}

#include "cpu/direct_conv2d/narrow.inl"

// Pixels cut into blocks whose sizes differ by at most 1, from block `first` on.
struct StripCut {
  int64_t least, left, parts, carry;

  StripCut(int64_t pixels, int64_t blocks, int64_t first)
      : least(pixels / blocks), left(pixels % blocks), parts(blocks), carry(pixels * first % blocks) {}

  // Whether the next block has a pixel more than the least.
  bool more() {
    carry += left;
    const bool full = carry >= parts;
    carry -= full ? parts : 0;
    return full;
  }
};

// The same where a panel goes past blocks in one slice and sums go to the output from registers: all that a
// block needs is what the one before needed, a step further on. With few input channels the way to that would
// else cost as much as the products.
template <typename T>
void whole_panel(const StripJob<T>& job, const StripPanel<T>& panel, int64_t begin, int64_t end,
                 const int64_t* runs, const T* stage) {
  const int64_t out_c = job.args.filter.out_c, blocks = job.strip.flat ? end - begin : job.strip.unit_blocks;
  const StripCut cut = job.strip.flat ? StripCut(job.pixels, job.strip.units, begin)
                                      : StripCut(job.out_w, job.strip.unit_blocks, 0);
  const bool wide = panel.width == kDirectPanel;
  const StripMicro<T> micro[2] = {
      wide ? strip_micro<T, kDirectPanel>(cut.least) : strip_micro<T, kDirectHalfPanel>(cut.least),
      wide ? strip_micro<T, kDirectPanel>(cut.least + 1) : strip_micro<T, kDirectHalfPanel>(cut.least + 1)};
  StripBlock<T> block = slice_inputs(job, panel, job.args.input, 0, runs);  // of the first unit: below
  block.start = panel.bias;
  block.out_step = out_c;
  block.channels = panel.past - panel.channel < panel.width ? panel.past - panel.channel : panel.width;
  block.low = clamp_low<T>(job.args.activation);
  block.high = clamp_high<T>(job.args.activation);
  const int64_t part = weight_part(job, panel, (end - begin) * job.strip.unit_blocks);
  for (int64_t unit = begin; unit < end; unit += job.strip.flat ? blocks : 1) {
    const int64_t pixel = job.block_begin(unit, 0);
    block.a = strip_input(job, stage, begin, unit, pixel) + panel.input_channel;
    block.out = job.args.out + pixel * out_c + panel.channel;
    fetch_next(job, panel, cut.least, block.out, (unit - begin) * job.strip.unit_blocks * part, part, block);
    StripCut sizes = cut;
    for (int64_t i = 0; i < blocks; ++i) {
      const bool more = sizes.more();
      micro[more](block);
      const int64_t pixels = cut.least + more;
      block.a += pixels * block.pixel_step;
      block.out += pixels * out_c;
      if (block.output.lines) block.output.line += pixels * out_c * int64_t{sizeof(T)};
      if (block.input.lines) block.input.line += part ? part : pixels * job.in_c * int64_t{sizeof(T)};
    }
  }
}

// Stages 2 and 3 of the units [begin, end) and one panel; runs: where the products of a value lie.
template <typename T>
void strip_panel(const StripJob<T>& job, int64_t index, int64_t begin, int64_t end, const int64_t* runs,
                 const T* stage, T* sums) {
  if (job.strip.narrow) return narrow_panel(job, begin, end, runs, stage, sums);
  const StripPanel<T> panel(job, index);
  if (job.strip.slices.count == 1 && panel.direct) {
    return whole_panel(job, panel, begin, end, runs, stage);
  }
  const int64_t blocks = (end - begin) * job.strip.unit_blocks, sums_step = kMicroRows * kDirectPanel;
  const int64_t part = weight_part(job, panel, blocks);
  for (int64_t first = 0; first < blocks; first += kStripRun) {
    const int64_t last = first + kStripRun < blocks ? first + kStripRun : blocks;
    StripPixels pixels[kStripRun];
    const T* a[kStripRun];
    for (int64_t i = first; i < last; ++i) {
      const int64_t unit = begin + i / job.strip.unit_blocks, block = i % job.strip.unit_blocks;
      const int64_t pixel = job.block_begin(unit, block);
      pixels[i - first] = {unit, pixel, job.block_begin(unit, block + 1) - pixel, i * part, part};
      a[i - first] = strip_input(job, stage, begin, unit, pixel);
    }
    for (int64_t slice = 0; slice < job.strip.slices.count; ++slice) {
      for (int64_t i = 0; i < last - first; ++i)
        strip_slice(job, panel, pixels[i], a[i], slice, runs, sums + i * sums_step);
    }
    if (panel.direct) continue;
    for (int64_t i = 0; i < last - first; ++i) {
      for (int64_t c = 0; c < panel.width && panel.halves[c / 16].channels > 0; c += 16) {
        output_nhwc(job, panel.halves[c / 16], pixels[i].first, pixels[i].count, sums + i * sums_step + c,
                    kDirectPanel);
      }
    }
  }
}
