// csr_conv2d on the CPU: strips of output pixels are shared out over threads; each gathers the pixels of a
// strip block by block, multiplies them with the packed filter as csr_matmul does, and writes the maps.
#include <algorithm>
#include <cstring>

#include "api/csr_conv2d.h"
#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/csr_matmul/plan.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
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

struct CsrStrip {
  int64_t image, pixel, lines;  // of the batch; its first output pixel; lines of 16 pixels
  float* x;                     // [k_block][16 * lines] scratch
  float* out;                   // [tiles * row_tile][16 * lines] scratch
};

// The stages of one instruction set.
struct CsrConvStages {
  void (*fill)(const CsrConv2dArgs& args, const float* image, const CsrPixels& part);
  void (*block)(const CsrPanels<float>& panels, const CsrLayout& layout, int64_t tile, int64_t block,
                int64_t lines, const float* x, float* out);
  void (*empty)(const CsrConv2dArgs& args, const float* tile, int64_t wide, int64_t first, int64_t channels,
                float* image, int64_t pixel);
};

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/csr_conv2d.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::csr_conv_stages()

namespace greenkernels::cpu {

namespace {

// A strip of pixels times all of the filter. A block of positions is gathered into `x`, which stays in the L1
// cache, and multiplied with all tiles before the next one is.
void multiply_strip(const CsrConv2dArgs& args, const CsrConvStages& stages, const CsrPanels<float>& panels,
                    const CsrStrip& strip) {
  const int64_t wide = strip.lines * kCsrLanes, tile_size = args.layout.row_tile * wide;
  const float* const image = args.input + strip.image * args.in_c * args.h * args.w;
  for (int64_t block = 0; block < std::max<int64_t>(1, panels.blocks); ++block) {
    const int64_t begin = block * args.layout.k_block;
    const int64_t end = std::min(args.shape.k, begin + args.layout.k_block);
    stages.fill(args, image, {strip.pixel, wide, begin, end, strip.x});
    for (int64_t t = 0; t < panels.tiles; ++t) {
      stages.block(panels, args.layout, t, block, strip.lines, strip.x, strip.out + t * tile_size);
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
