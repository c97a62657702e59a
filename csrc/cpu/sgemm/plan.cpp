// The choices behind sgemm's plan.
#include "cpu/sgemm/plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMinTaskFlops = 1 << 20;    // about 10 us of one core: less is not worth waking a thread
constexpr int64_t kMinShareFlops = 64 << 20;  // nor is more than one share a thread
constexpr int64_t kSharesAThread = 4;         // 6: 2048 with a level of Strassen's algorithm 327 for 337 GF/s
constexpr int64_t kMaxColumnBytes = 8 << 20;  // packed at a time by a share, for L3
constexpr int64_t kMaxDepth = 4 * kSgemmSlice;  // of a block
constexpr int64_t kMaxPackedBytes = 32 << 20;   // of b packed first

// Moving an element of an operand costs a thread about what this many multiplications do: 4 bytes from L3 at
// 28 GB/s, against 87 G multiply-adds a second (Sapphire Rapids class).
constexpr double kMoveCost = 12;
constexpr double kPackFirstCost = 20;     // out of the cache and back
constexpr double kMeetingCost = 4 << 20;  // of all threads once more, the slowest of them packing b
constexpr double kStreamCost = 2;         // of a packed operand, which is fetched while others are multiplied

// How far the slowest core is behind the mean, as a rule: programs beside this one, cores of two kinds.
constexpr double kUnevenness = 0.25;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t panels_of(int64_t n) { return std::max<int64_t>(1, ceil_div(n, kSgemmPanel)); }

// Multiplications that the slowest thread does meanwhile, divided by k.
double cost(const SgemmSizes& s, const SgemmPlan& plan, int64_t threads) {
  const double shares = double(plan.rows * plan.columns), m = double(ceil_div(s.m, plan.rows)),
               n = double(ceil_div(panels_of(s.n), plan.columns) * kSgemmPanel);
  const bool packed = s.packed || plan.pack_first;
  const double share = m * n + kMoveCost * m + (packed ? kStreamCost : kMoveCost) * n;
  const double turns = double(ceil_div(plan.rows * plan.columns, threads));
  const double waiting = 1 + kUnevenness * double(threads) / shares;
  const double packing = kPackFirstCost * double(s.n) / double(threads) + kMeetingCost / double(s.k + 1);
  return turns * share * waiting + (plan.pack_first ? packing : 0);
}

}  // namespace

SgemmPlan sgemm_plan(const SgemmSizes& s, int64_t max_rows, int64_t threads) {
  if (threads == 1) return {1, 1, false};
  const int64_t flops = 2 * s.m * s.n * std::max<int64_t>(s.k, 1);
  const int64_t busy = std::min(threads, flops / kMinTaskFlops);
  const int64_t most = std::min(threads * kSharesAThread, std::max(busy, flops / kMinShareFlops));
  SgemmPlan best{1, 1, false};
  double best_cost = -1;
  for (int64_t rows = 1; rows <= std::min(most, ceil_div(s.m, max_rows)); ++rows) {
    for (int64_t columns = 1; rows * columns <= most && columns <= panels_of(s.n); ++columns) {
      for (const bool pack_first : {false, true}) {
        if (pack_first && (s.packed || rows == 1)) continue;
        const SgemmPlan plan{rows, columns, pack_first};
        const double plan_cost = cost(s, plan, threads);
        if (best_cost < 0 || plan_cost < best_cost) {
          best_cost = plan_cost;
          best = plan;
        }
      }
    }
  }
  return best;
}

SgemmShare sgemm_share(const SgemmSizes& s, const SgemmPlan& plan, int64_t i) {
  const int64_t r = i / plan.columns, c = i % plan.columns, panels = panels_of(s.n);
  return {s.m * r / plan.rows, s.m * (r + 1) / plan.rows, panels * c / plan.columns * kSgemmPanel,
          std::min(s.n, panels * (c + 1) / plan.columns * kSgemmPanel)};
}

int64_t sgemm_columns_packed(int64_t k, int64_t element_bytes) {
  const int64_t fit = kMaxPackedBytes / (std::max<int64_t>(k, 1) * element_bytes);
  return std::max<int64_t>(1, fit / kSgemmPanel) * kSgemmPanel;
}

SgemmBlocks sgemm_blocks(int64_t element_bytes, int64_t max_rows, const CacheSizes& caches) {
  // Half of L2 for rows of a. More rows spare reads of b from L3, more depth reads and writes of the output:
  // for 2 MiB 252 rows and 1024 of the depth. Strassen's algorithm, 4096, 2 threads: 343 GF/s with half the
  // depth, 347 so.
  const int64_t elements = caches.l2 / 2 / element_bytes;
  int64_t depth = kSgemmSlice;
  while (depth < kMaxDepth && depth * depth < 4 * elements) depth += kSgemmSlice;
  return {max_rows, std::max(max_rows, elements / depth / max_rows * max_rows), depth,
          kMaxColumnBytes / (depth * element_bytes) / kSgemmPanel * kSgemmPanel};
}

SgemmScratch sgemm_scratch(const SgemmSizes& s, const SgemmPlan& plan, const SgemmBlocks& blocks) {
  const int64_t depth = ceil_div(std::min(s.k, blocks.block_depth), 16) * 16;
  const int64_t rows = std::min(ceil_div(s.m, plan.rows), blocks.block_rows);
  const int64_t columns =
      std::min(ceil_div(panels_of(s.n), plan.columns) * kSgemmPanel, blocks.block_columns);
  return {ceil_div(rows * depth, 16) * 16, s.packed ? 0 : columns * depth, rows * kSgemmPanel,
          blocks.max_rows * kSgemmPanel + 16};
}

}  // namespace greenkernels::cpu
