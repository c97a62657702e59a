// half_gemm on the CPU: a few rows are multiplied with the weight as it is read; for more, sgemm widens its
// panels in cache in the place of packing them.
#include "api/half_gemm.h"

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/sgemm/stages.h"

namespace greenkernels::cpu {

// What one instruction set has.
struct HalfStages {
  int64_t most_rows;  // of a that panels takes at least as fast as sgemm
  void (*panels)(const HalfGemmArgs& args, int64_t begin, int64_t end);  // [begin, end), past all rows
};

static_assert(kHalfPanel == kSgemmPanel);

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/half_gemm/stages.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::half_stages(format)

namespace greenkernels::cpu {

namespace {

constexpr int64_t kTaskElements = 1 << 16;  // of the weight, packed or read: about 10 us of one core

// Panels that are worth waking a thread.
int64_t panel_grain(const HalfWeight& shape) {
  return std::max<int64_t>(1, kTaskElements / (kHalfPanel * std::max<int64_t>(1, shape.k)));
}

SgemmProduct<float> product(const HalfGemmArgs& args) {
  SgemmProduct<float> p{};
  p.m = args.m, p.n = args.shape.n, p.k = args.shape.k;
  p.a = {{{args.a, 1, p.m, p.k}}, 1, p.k, 1};
  p.b = {{{nullptr, 1, p.n, p.k}}, 1, p.k, 1, args.packed, args.shape.format};
  p.outs = 1;
  p.out[0] = {args.out, nullptr, 1, p.m, p.n, true, true, false, args.bias, nullptr};
  p.out[0].slope = args.activation_params ? args.activation_param : nullptr;
  p.out_stride = p.n;
  p.out_column = 1;
  p.activation = args.activation;
  p.slope_step = args.activation_params > 1 ? 1 : 0;
  return p;
}

}  // namespace

void half_gemm_pack(const HalfPackArgs& args) {
  const HalfWeight& shape = args.shape;
  parallel_for(shape.panels(), panel_grain(shape), [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int64_t d = 0; d < shape.k; ++d) {
        uint16_t* const to = args.packed + (panel * shape.k + d) * kHalfPanel;
        for (int64_t c = 0; c < kHalfPanel; ++c) {
          const int64_t row = panel * kHalfPanel + c;
          to[c] = row < shape.n ? args.b[row * shape.k + d] : uint16_t{0};
        }
      }
    }
  });
}

void half_gemm(const HalfGemmArgs& args) {
  if (args.m == 0 || args.shape.n == 0) return;
  const HalfStages stages = GK_SELECT_ISA(half_stages)(args.shape.format);
  if (args.m > stages.most_rows) {
    const SgemmProduct<float> p = product(args);
    return sgemm_multiply(&p, 1);
  }
  parallel_for(args.shape.panels(), panel_grain(args.shape),
               [&](int64_t begin, int64_t end) { stages.panels(args, begin, end); });
}

}  // namespace greenkernels::cpu
