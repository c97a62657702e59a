// csr_conv2d on the CPU: strips of output pixels are shared out over threads; each gathers the pixels of a
// strip, multiplies them with the packed filter as csr_matmul does, and writes the maps.
#include <algorithm>
#include <cstring>

#include "api/csr_conv2d.h"
#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/csr_matmul/plan.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

// The stages of one instruction set.
struct CsrConvStages {
  void (*fill)(const CsrConv2dArgs& args, const float* image, int64_t pixel, int64_t wide, float* strip);
  void (*tile)(const CsrPanels<float>& panels, const CsrLayout& layout, int64_t tile, int64_t lines,
               const float* strip, float* out);
  void (*empty)(const CsrConv2dArgs& args, const float* tile, int64_t wide, int64_t first, int64_t channels,
                float* image, int64_t pixel);
};

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/csr_conv2d.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::csr_conv_stages()

namespace greenkernels::cpu {

void csr_conv2d(const CsrConv2dArgs& args) {
  const int64_t pixels = args.out_h * args.out_w;
  if (args.batch == 0 || args.shape.n == 0 || pixels == 0) return;
  const CsrConvStages stages = GK_SELECT_ISA(csr_conv_stages)();
  // const_cast: the same struct describes what is packed and what is read.
  const CsrPanels<float> panels(args.shape, args.layout, const_cast<void*>(args.packed));
  const CsrPlan plan = csr_plan(pixels, 1);  // of one image
  const int64_t most = (plan.lines + plan.strips - 1) / plan.strips * kCsrLanes;
  parallel_for(args.batch * plan.strips, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease scratch((args.shape.k + args.layout.row_tile) * most * sizeof(float));
    float* const strip = scratch.as<float>();
    float* const tile = strip + args.shape.k * most;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / plan.strips, first = csr_first_line(plan, i % plan.strips);
      const int64_t lines = csr_first_line(plan, i % plan.strips + 1) - first, wide = lines * kCsrLanes;
      stages.fill(args, args.input + image * args.in_c * args.h * args.w, first * kCsrLanes, wide, strip);
      for (int64_t t = 0; t < panels.tiles; ++t) {
        const int64_t channel = t * args.layout.row_tile;
        stages.tile(panels, args.layout, t, lines, strip, tile);
        stages.empty(args, tile, wide, channel, std::min(args.layout.row_tile, args.shape.n - channel),
                     args.out + image * args.shape.n * pixels, first * kCsrLanes);
      }
    }
  });
}

}  // namespace greenkernels::cpu
