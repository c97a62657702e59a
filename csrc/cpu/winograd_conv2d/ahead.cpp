// Which lines the output of a panel lies in, strip by strip: a strip is a run of tiles in one row of tiles.
#include "cpu/winograd_conv2d/ahead.h"

#include <algorithm>
#include <cstdint>

namespace greenkernels::cpu {

namespace {

// Runs of a list that has an end.
struct Writer {
  PrefetchRun* next;
  PrefetchRun* end;

  // `count` lines, `step` bytes apart, in as many runs as that takes.
  void add(const char* line, int64_t step, int64_t count) {
    for (; count > 0 && next != end; count -= kPrefetchLines, line += step * kPrefetchLines)
      *next++ = {line, step};
  }
};

// Segments of `bytes` bytes, the first at `first`, `count` of them `step` bytes apart; they may begin within
// a line.
void add_segments(const char* first, int64_t bytes, int64_t step, int64_t count, Writer& writer) {
  const bool aligned = (reinterpret_cast<uintptr_t>(first) | static_cast<uintptr_t>(step)) % kCacheLine == 0;
  const int64_t end = aligned ? bytes : bytes + kCacheLine - 1;  // one more line may hold the last bytes
  for (int64_t byte = 0; byte < end; byte += kCacheLine)
    writer.add(first + std::min(byte, bytes - 1), step, count);
}

// One row of `width` pixels of the output, from `first` on.
template <typename T>
void add_row_nhwc(const T* first, int64_t width, int64_t channels, int64_t all_channels, Writer& writer) {
  const char* line = reinterpret_cast<const char*>(first);
  const int64_t pixel_bytes = all_channels * int64_t{sizeof(T)};
  if (channels == all_channels) {
    const int64_t before = reinterpret_cast<uintptr_t>(line) % kCacheLine;
    writer.add(line - before, kCacheLine, (before + width * pixel_bytes + kCacheLine - 1) / kCacheLine);
  } else {
    add_segments(line, channels * int64_t{sizeof(T)}, pixel_bytes, width, writer);
  }
}

template <typename T>
void add_row_nchw(const T* first, int64_t width, int64_t channels, int64_t plane, Writer& writer) {
  add_segments(reinterpret_cast<const char*>(first), width * int64_t{sizeof(T)}, plane * int64_t{sizeof(T)},
               channels, writer);
}

}  // namespace

template <typename T, typename S>
int64_t winograd_output_lines(const WinogradJob<T, S>& job, int64_t panel, const WinogradPart& part,
                              int64_t multiple, int64_t room, PrefetchRun* runs) {
  const auto& args = job.args;
  const int64_t m = args.tile, out_h = args.out_h(), out_w = args.out_w();
  const int64_t channel = panel * kWinogradPanel, channels = std::min(kWinogradPanel, args.out_c - channel);
  Writer writer{runs, runs + room / multiple * multiple};
  const int64_t last = job.first_tile(part.block_end);
  for (int64_t tile = job.first_tile(part.block); tile < last;) {
    const int64_t strip = tile / job.tiles_w, col = tile % job.tiles_w;
    const int64_t count = std::min(last - tile, job.tiles_w - col), image = strip / job.tiles_h;
    const int64_t x = col * m, width = std::min(count * m, out_w - x), y = strip % job.tiles_h * m;
    for (int64_t row = y; row < std::min(y + m, out_h); ++row) {
      if (args.out_layout == MapLayout::kNhwc) {
        const S* first = args.out + ((image * out_h + row) * out_w + x) * args.out_c + channel;
        add_row_nhwc(first, width, channels, args.out_c, writer);
      } else {
        const S* first = args.out + ((image * args.out_c + channel) * out_h + row) * out_w + x;
        add_row_nchw(first, width, channels, out_h * out_w, writer);
      }
    }
    tile += count;
  }
  for (; writer.next != runs && (writer.next - runs) % multiple != 0; ++writer.next)
    *writer.next = writer.next[-1];
  return writer.next - runs;
}

template int64_t winograd_output_lines(const WinogradJob<float>&, int64_t, const WinogradPart&, int64_t,
                                       int64_t, PrefetchRun*);
template int64_t winograd_output_lines(const WinogradJob<double>&, int64_t, const WinogradPart&, int64_t,
                                       int64_t, PrefetchRun*);
template int64_t winograd_output_lines(const WinogradJob<float, BFloat16>&, int64_t, const WinogradPart&,
                                       int64_t, int64_t, PrefetchRun*);
template int64_t winograd_output_lines(const WinogradJob<float, Float16>&, int64_t, const WinogradPart&,
                                       int64_t, int64_t, PrefetchRun*);

}  // namespace greenkernels::cpu
