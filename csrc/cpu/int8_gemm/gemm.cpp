// int8_gemm on the CPU: cuts the product into work for threads and runs the stages of stages.inl on it.
#include <algorithm>

#include "api/int8_gemm.h"
#include "cpu/int8_gemm/plan.h"
#include "cpu/int8_panel.h"
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

struct Gemm {
  const Int8GemmArgs& args;
  Int8Stages stages;
  Int8Plan plan;
  Int8Product job;
  Int8Rows rows;

  int64_t block_bytes() const { return job.block_stride() * stages.element_bytes; }
};

// Blocks outermost: a thread packs a group of blocks, then streams the weight past them.
void run_blocks_outer(const Gemm& gemm) {
  const int64_t group = gemm.plan.group;
  parallel_for(gemm.plan.blocks, gemm.plan.grain, [&](int64_t begin, int64_t end) {
    const ScratchLease packed(group * gemm.block_bytes()), sums(gemm.job.sums_size() * 4);
    for (int64_t first = begin; first < end; first += group) {
      const int64_t last = std::min(first + group, end);
      gemm.stages.pack_rows(gemm.args, gemm.job, first, last, packed.as<void>(), gemm.rows);
      for (int64_t panel = 0; panel < gemm.job.shape.panels(); ++panel) {
        gemm.stages.panel(gemm.job, panel, first, last, packed.as<void>(), gemm.rows, sums.as<int32_t>());
      }
    }
  });
}

// Panels outermost: all rows are packed first, then each thread streams its share of the weight once.
void run_panels_outer(const Gemm& gemm) {
  const int64_t blocks = gemm.plan.blocks;
  const ScratchLease packed(blocks * gemm.block_bytes());
  char* v = packed.as<char>();
  parallel_for(blocks, gemm.plan.pack_grain, [&](int64_t begin, int64_t end) {
    gemm.stages.pack_rows(gemm.args, gemm.job, begin, end, v + begin * gemm.block_bytes(), gemm.rows);
  });
  parallel_for(gemm.job.shape.panels(), gemm.plan.grain, [&](int64_t begin, int64_t end) {
    const ScratchLease sums(gemm.job.sums_size() * 4);
    for (int64_t panel = begin; panel < end; ++panel) {
      gemm.stages.panel(gemm.job, panel, 0, blocks, v, gemm.rows, sums.as<int32_t>());
    }
  });
}

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
  const Int8Product job{args.shape,   args.packed, args.epilogue, args.output,   args.out,
                        args.shape.n, args.m,      plan.blocks,   plan.max_rows, one_zero};
  const Gemm gemm{args, stages, plan, job, {rows.as<float>(), rows.as<int32_t>() + args.m}};
  plan.panels_outer ? run_panels_outer(gemm) : run_blocks_outer(gemm);
}

}  // namespace greenkernels::cpu
