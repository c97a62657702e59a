// The choices behind Int8Plan.
#include "cpu/int8_gemm/plan.h"

#include <algorithm>

#include "api/int8_gemm.h"
#include "cpu/parallel.h"

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMaxStagedBytes = 32 << 20;  // scratch for the packed rows of all blocks
constexpr int64_t kMinTaskOps = 1 << 22;       // about 6 us of one core: less is not worth waking a thread
constexpr int64_t kMinTaskElements = 1 << 15;  // quantized, the same

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Int8Plan int8_plan(const Int8Problem& p) {
  const int64_t packed_row = ceil_div(p.k, 64) * 64 * p.element_bytes;
  const int64_t ops = 2 * p.m * p.n * std::max<int64_t>(p.k, 1), weight = p.n * p.k;
  const int64_t threads = ops < 2 * kMinTaskOps ? 1 : p.threads, panels = ceil_div(p.n, kInt8Panel);

  Int8Plan plan{};
  plan.blocks = ceil_div(p.m, p.max_rows);
  // As many blocks for each thread where they are few, and as many pieces of blocks where they are many: 15
  // pieces of 7 blocks kept one of two threads waiting for 8 % of the time, at 1024 x 1024 x 1024.
  const int64_t pieces = threads * kPiecesAThread;
  const int64_t even = plan.blocks <= pieces ? threads : plan.blocks >= 4 * pieces ? pieces : 1;
  if (threads > 1) plan.blocks = std::min(p.m, ceil_div(plan.blocks, even) * even);
  plan.max_rows = ceil_div(p.m, plan.blocks);
  // A group takes a quarter of L2, which leaves room for the panels and the output that stream past it. Half,
  // an eighth and a sixteenth ran as fast (m = 1024 and 2048).
  const int64_t fit = p.l2_bytes / 4 / std::max<int64_t>(1, packed_row * plan.max_rows);
  plan.group = std::clamp<int64_t>(fit, 1, plan.blocks);

  // Blocks outermost, each thread streams the whole weight past each group of its blocks; panels outermost,
  // the weight is streamed once, and past it the packed rows, unless they stay in L2.
  const int64_t busy = std::min(threads, plan.blocks), staged = packed_row * p.m;
  const int64_t blocks_traffic = busy * ceil_div(ceil_div(plan.blocks, busy), plan.group) * weight;
  const int64_t panels_traffic = weight + (staged > p.l2_bytes / 2 ? staged * panels : staged);
  const bool idle_threads = plan.blocks < threads;
  // For a third of the traffic it does not pay, nor where many blocks meet a weight that stays in L2: 1024 x
  // 1024 x 1024 ran at 94 to 97 % of the peak of two threads with blocks outermost, at 88 % with panels,
  // whose output jumps from row to row.
  const bool weight_stays = weight <= p.l2_bytes / 2 && plan.blocks >= 4 * pieces;
  const bool less_traffic = !weight_stays && 3 * panels_traffic < 2 * blocks_traffic;
  plan.panels_outer = panels > 1 && staged <= kMaxStagedBytes && (idle_threads || less_traffic);
  if (plan.panels_outer) {
    plan.blocks = ceil_div(p.m, p.max_rows);
    plan.max_rows = ceil_div(p.m, plan.blocks);
    plan.group = std::min(plan.group, plan.blocks);
  }
  const int64_t row_ops = std::max<int64_t>(1, ops / (plan.panels_outer ? panels : plan.blocks));
  plan.grain = std::max<int64_t>(1, kMinTaskOps / row_ops);
  plan.pack_grain = std::max<int64_t>(1, kMinTaskElements / std::max<int64_t>(1, plan.max_rows * p.k));
  return plan;
}

}  // namespace greenkernels::cpu
