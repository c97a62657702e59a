// int8_gemm on the CPU: cuts the product into work for threads and runs the stages of stages.inl on it.
#include <algorithm>

#include "api/int8_gemm.h"
#include "cpu/int8_gemm/plan.h"
#include "cpu/int8_loops.h"
#include "cpu/int8_panel.h"
#include "cpu/int8_range.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

// The stages of one instruction set. v: packed rows, from block `begin` on; sums: scratch.
struct Int8Stages {
  int64_t max_rows, element_bytes;
  void (*pack_rows)(const Int8GemmArgs& args, const Int8Product& job, int64_t begin, int64_t end, void* v,
                    const Int8Rows& rows);
  void (*panel)(const Int8Product& job, int64_t panel, int64_t begin, int64_t end, const void* v,
                const Int8Rows& rows, int32_t* sums);
  void (*pack_panels)(const Int8PackArgs& args, int64_t begin, int64_t end);
};

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/int8_gemm/stages.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::int8_stages(has_vnni)

namespace greenkernels::cpu {

namespace {

constexpr int64_t kPackTaskBytes = 1 << 16;  // of the weight: a task worth a thread

Int8Stages select_stages() { return GK_SELECT_ISA(int8_stages)(vnni()); }

}  // namespace

void int8_gemm_pack(const Int8PackArgs& args) {
  const auto pack = select_stages().pack_panels;
  const int64_t grain = std::max<int64_t>(1, kPackTaskBytes / args.shape.panel_bytes());
  parallel_for(args.shape.panels(), grain, [&](int64_t begin, int64_t end) { pack(args, begin, end); });
}

void int8_gemm(const Int8GemmArgs& args) {
  if (args.m == 0 || args.shape.n == 0) return;
  const Int8Stages stages = select_stages();
  const Int8Plan plan = int8_plan({args.m, args.shape.n, args.shape.k, stages.element_bytes, stages.max_rows,
                                   num_threads(), cache_sizes().l2});
  const ScratchLease rows(args.m * 8);
  const bool one_zero = args.zero_points <= 1 && (args.row_scales > 0 || args.input != Int8Input::kFloat);
  const Int8Product job{args.shape, args.packed, args.epilogue, args.output,   args.out, args.shape.n,
                        0,          args.m,      plan.blocks,   plan.max_rows, one_zero};
  const Int8Rows known{rows.as<float>(), rows.as<int32_t>() + args.m};
  const auto pack = [&](int64_t begin, int64_t end, void* v) {
    stages.pack_rows(args, job, begin, end, v, known);
  };
  const auto multiply = [&](int64_t panel, int64_t begin, int64_t end, const void* v, int32_t* sums) {
    stages.panel(job, panel, begin, end, v, known, sums);
  };
  const int64_t block_bytes = job.block_stride() * stages.element_bytes;
  Int8Loops{plan, job.shape.panels(), block_bytes, job.sums_size() * 4, pack, multiply}.run();
}

}  // namespace greenkernels::cpu
