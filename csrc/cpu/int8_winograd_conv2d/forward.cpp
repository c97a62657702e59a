// int8_winograd_conv2d on the CPU: groups of tiles are transformed and quantized, then panels of the weight
// stream past them.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "api/int8_winograd_conv2d.h"
#include "cpu/half.h"
#include "cpu/int8_range.h"
#include "cpu/int8_winograd_conv2d/job.h"
#include "cpu/int8_winograd_conv2d/plan.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

#define GK_KERNEL "cpu/int8_winograd_conv2d/stages.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::int8_winograd_stages(has_vnni)

namespace greenkernels::cpu {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Memory {
  explicit Memory(const Int8WinogradArgs& args, int64_t tiles, const Int8WinogradStages& stages)
      : taps(kInt8WinogradTaps * (tiles + stages.max_rows) * Int8WinogradJob::line(args.in_c) *
             stages.element_bytes),
        rows(kInt8WinogradTaps * tiles * 8),
        places(tiles * int64_t(sizeof(Int8WinogradPlace))) {}
  ScratchLease taps, rows, places;
};

Int8WinogradJob job_of(const Int8WinogradArgs& args, const Int8WinogradStages& stages, int64_t first,
                       int64_t tiles, const float* zeros, const Memory& memory) {
  const int64_t blocks = ceil_div(tiles, stages.max_rows);
  return {args,
          first,
          tiles,
          blocks,
          ceil_div(tiles, blocks),
          zeros,
          memory.taps.as<void>(),
          memory.rows.as<float>(),
          memory.rows.as<int32_t>() + kInt8WinogradTaps * tiles,
          memory.places.as<Int8WinogradPlace>()};
}

int64_t lines_bytes(const Int8WinogradArgs& args) {
  return kInt8WinogradTaps * Int8WinogradJob::line(args.in_c) * 4;
}

int64_t sums_bytes(const Int8WinogradJob& job) {
  return (kInt8WinogradTaps * job.tiles * kInt8Panel + job.product(0, 0, nullptr).sums_size()) * 4;
}

// Threads share out groups of tiles.
void run_groups(const Int8WinogradArgs& args, const Int8WinogradStages& stages, int64_t tiles, int64_t group,
                const float* zeros) {
  parallel_for(ceil_div(tiles, group), 1, [&](int64_t begin, int64_t end) {
    const Memory memory(args, group, stages);
    const ScratchLease lines(lines_bytes(args));
    for (int64_t g = begin; g < end; ++g) {
      const int64_t first = g * group, count = std::min(group, tiles - first);
      const Int8WinogradJob job = job_of(args, stages, first, count, zeros, memory);
      const ScratchLease sums(sums_bytes(job));
      stages.input(job, 0, job.blocks, lines.as<float>());
      for (int64_t panel = 0; panel < args.tap_shape().panels(); ++panel) {
        stages.panel(job, panel, sums.as<int32_t>());
      }
    }
  });
}

// All tiles are transformed, then threads share out the panels.
void run_panels(const Int8WinogradArgs& args, const Int8WinogradStages& stages, int64_t tiles,
                const float* zeros) {
  const Memory memory(args, tiles, stages);
  const Int8WinogradJob job = job_of(args, stages, 0, tiles, zeros, memory);
  parallel_for(job.blocks, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease lines(lines_bytes(args));
    stages.input(job, begin, end, lines.as<float>());
  });
  parallel_for(args.tap_shape().panels(), 1, [&](int64_t begin, int64_t end) {
    const ScratchLease sums(sums_bytes(job));
    for (int64_t panel = begin; panel < end; ++panel) stages.panel(job, panel, sums.as<int32_t>());
  });
}

}  // namespace

void int8_winograd_conv2d(const Int8WinogradArgs& args) {
  const int64_t tiles = args.batch * ceil_div(args.out_h(), 2) * ceil_div(args.out_w(), 2);
  if (tiles == 0 || args.out_c == 0) return;
  const Int8WinogradStages stages = GK_SELECT_ISA(int8_winograd_stages)(vnni());
  const ScratchLease zeros(std::max<int64_t>(1, args.in_c) * 4);
  std::memset(zeros.as<float>(), 0, args.in_c * 4);
  const Int8WinogradPlan plan =
      int8_winograd_plan({tiles, args.in_c, ceil_div(args.out_c, kInt8Panel), stages.element_bytes,
                          stages.max_rows, num_threads(), cache_sizes().l2});
  if (plan.panels_outer) return run_panels(args, stages, tiles, zeros.as<float>());
  run_groups(args, stages, tiles, plan.group, zeros.as<float>());
}

}  // namespace greenkernels::cpu
