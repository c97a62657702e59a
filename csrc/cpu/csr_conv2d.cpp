// csr_conv2d on the CPU: strips of output pixels are shared out over threads; each gathers the pixels of a
// strip block by block, multiplies them with the packed filter as csr_matmul does, and writes the maps.
#include <algorithm>
#include <cstring>

#include "api/csr_conv2d.h"
#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/csr_matmul/plan.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/prefetch.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

// A part of a strip of output pixels (rows of the map one after the other). Its row p holds what position p
// of the filter sees, (c, r, s) in this order.
struct CsrPixels {
  int64_t pixel, wide;  // first output pixel, and how many
  int64_t begin, end;   // positions of the filter
  float* to;            // [end - begin][wide]

  // The first channel whose place `tap` of the filter is not before `begin`.
  int64_t first_channel(int64_t tap, int64_t taps) const { return (begin - tap + taps - 1) / taps; }
};

// Pieces of maps, one below the other, that are fetched into the L2 cache while a block is multiplied, some
// for every row of the weight: a strip takes only a few cache lines of each channel, too few in a row for the
// processor to fetch them by itself.
struct CsrAhead {
  const char* piece;  // the next piece; no address can fault
  int64_t step;       // bytes from one piece to the next
  int64_t bytes;      // of a piece
  int64_t left;       // pieces
  int64_t a_row;      // pieces for a row of the weight

  void row() {
    for (int64_t i = std::min(left, a_row); i > 0; --i, --left, piece += step) {
      for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(piece + at, 0, 2);
    }
  }
};

struct CsrStrip {
  int64_t image, pixel, lines;  // of the batch; its first output pixel; lines of 16 pixels
  float* x;                     // [k_block][16 * lines] scratch
  float* out;                   // [tiles * row_tile][16 * lines] scratch
};

// The stages of one instruction set.
struct CsrConvStages {
  void (*fill)(const CsrConv2dArgs& args, const float* image, const CsrPixels& part);
  void (*block)(const CsrPanels<float>& panels, const CsrLayout& layout, int64_t tile, int64_t block,
                int64_t lines, const float* x, float* out, CsrAhead& ahead);
  void (*empty)(const CsrConv2dArgs& args, const float* tile, int64_t wide, int64_t first, int64_t channels,
                float* image, int64_t pixel);
};

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/csr_conv2d.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::csr_conv_stages()

namespace greenkernels::cpu {

namespace {

// What block `block` of the strip at `pixel` sees for the first time: of each channel that begins in it, the
// pixels of the strip under the last place of the filter. Those under the others were read for strips before.
CsrAhead ahead_of(const CsrConv2dArgs& args, const float* image, int64_t block, int64_t pixel, int64_t wide) {
  const int64_t taps = args.kernel_h * args.kernel_w, begin = block * args.layout.k_block;
  const int64_t end = std::min(args.shape.k, begin + args.layout.k_block);
  const int64_t first = (begin + taps - 1) / taps, count = (end + taps - 1) / taps - first;
  const int64_t y = pixel / args.out_w * args.stride_h + (args.kernel_h - 1) * args.dilation_h - args.pad_h;
  const int64_t x = pixel % args.out_w * args.stride_w + (args.kernel_w - 1) * args.dilation_w - args.pad_w;
  const int64_t size = args.h * args.w, from = std::clamp<int64_t>(y * args.w + x, 0, size);
  const int64_t bytes = std::min(wide * args.stride_w, size - from) * int64_t{sizeof(float)};
  const char* const piece = reinterpret_cast<const char*>(image + first * size + from);
  return {piece, size * int64_t{sizeof(float)}, bytes, count, (count + args.shape.n - 1) / args.shape.n};
}

// A strip of pixels times all of the filter. A block of positions is gathered into `x`, which stays in the L1
// cache, and multiplied with all tiles before the next one is.
void multiply_strip(const CsrConv2dArgs& args, const CsrConvStages& stages, const CsrPanels<float>& panels,
                    const CsrStrip& strip) {
  const int64_t wide = strip.lines * kCsrLanes, tile_size = args.layout.row_tile * wide;
  const float* const image = args.input + strip.image * args.in_c * args.h * args.w;
  const int64_t blocks = std::max<int64_t>(1, panels.blocks);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * args.layout.k_block;
    const int64_t end = std::min(args.shape.k, begin + args.layout.k_block);
    stages.fill(args, image, {strip.pixel, wide, begin, end, strip.x});
    const bool last = block + 1 == blocks;  // then the next strip's first block
    CsrAhead ahead = ahead_of(args, image, last ? 0 : block + 1, strip.pixel + (last ? wide : 0), wide);
    for (int64_t t = 0; t < panels.tiles; ++t) {
      stages.block(panels, args.layout, t, block, strip.lines, strip.x, strip.out + t * tile_size, ahead);
    }
  }
  float* const maps = args.out + strip.image * args.shape.n * args.out_h * args.out_w;
  stages.empty(args, strip.out, wide, 0, args.shape.n, maps, strip.pixel);
}

}  // namespace

void csr_conv2d(const CsrConv2dArgs& args) {
  const int64_t pixels = args.out_h * args.out_w;
  if (args.batch == 0 || args.shape.n == 0 || pixels == 0) return;
  const CsrConvStages stages = GK_SELECT_ISA(csr_conv_stages)();
  // const_cast: the same struct describes what is packed and what is read.
  const CsrPanels<float> panels(args.shape, args.layout, const_cast<void*>(args.packed));
  const CsrPlan plan = csr_plan(pixels, 1);  // of one image
  const int64_t most = (plan.lines + plan.strips - 1) / plan.strips * kCsrLanes;
  const int64_t x_size = args.layout.k_block * most, out_size = panels.tiles * args.layout.row_tile * most;
  parallel_for(args.batch * plan.strips, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease scratch((x_size + out_size) * sizeof(float));
    float* const x = scratch.as<float>();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = csr_first_line(plan, i % plan.strips);
      const int64_t lines = csr_first_line(plan, i % plan.strips + 1) - first;
      multiply_strip(args, stages, panels, {i / plan.strips, first * kCsrLanes, lines, x, x + x_size});
    }
  });
}

}  // namespace greenkernels::cpu
