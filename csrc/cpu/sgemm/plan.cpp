// The choices behind sgemm's plan.
#include "cpu/sgemm/plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMinTaskFlops = 1 << 20;  // about 10 us of one core: less is not worth waking a thread
constexpr int64_t kMaxColumns = 4096;       // packed at a time: a slice of 4 MiB, for L3

// Moving an element of an operand costs a thread about what this many multiplications do: 4 bytes from L3 at
// 28 GB/s, against 87 G multiply-adds a second (Sapphire Rapids class).
constexpr int64_t kMoveCost = 12;
constexpr int64_t kStreamCost = 2;  // of a packed operand, which is fetched while others are multiplied

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t panels_of(int64_t n) { return std::max<int64_t>(1, ceil_div(n, kSgemmPanel)); }

}  // namespace

SgemmSplit sgemm_split(const SgemmSizes& s, int64_t max_rows, int64_t threads) {
  const int64_t item_flops = 2 * s.m * s.n * std::max<int64_t>(s.k, 1);
  const int64_t useful = std::max<int64_t>(1, item_flops * s.batch / kMinTaskFlops);
  const int64_t wanted = std::min(threads, useful);
  SgemmSplit best{1, 1};
  int64_t best_cost = -1;
  for (int64_t rows = 1; rows <= std::min(wanted, ceil_div(s.m, max_rows)); ++rows) {
    for (int64_t columns = 1; rows * columns <= wanted && columns <= panels_of(s.n); ++columns) {
      const int64_t m = ceil_div(s.m, rows), n = ceil_div(panels_of(s.n), columns) * kSgemmPanel;
      const int64_t turns =
          ceil_div(s.batch * rows * columns, wanted);  // shares that the busiest thread gets
      const int64_t cost = turns * (m * n + kMoveCost * m + (s.packed ? kStreamCost : kMoveCost) * n);
      if (best_cost < 0 || cost < best_cost) {
        best_cost = cost;
        best = {rows, columns};
      }
    }
  }
  return best;
}

SgemmShare sgemm_share(const SgemmSizes& s, const SgemmSplit& split, int64_t i) {
  const int64_t r = i / split.columns, c = i % split.columns, panels = panels_of(s.n);
  return {s.m * r / split.rows, s.m * (r + 1) / split.rows, panels * c / split.columns * kSgemmPanel,
          std::min(s.n, panels * (c + 1) / split.columns * kSgemmPanel)};
}

SgemmBlocks sgemm_blocks(int64_t element_bytes, int64_t max_rows, const CacheSizes& caches) {
  // An eighth of L2: panels of b, tiles of the output and the next block of a pass through it too.
  const int64_t fit = caches.l2 / 8 / (kSgemmSlice * element_bytes);
  return {max_rows, std::max(max_rows, fit / max_rows * max_rows), kMaxColumns};
}

SgemmScratch sgemm_scratch(const SgemmSizes& s, const SgemmSplit& split, const SgemmBlocks& blocks) {
  const int64_t depth = ceil_div(std::min(s.k, kSgemmSlice), 16) * 16;
  const int64_t rows = std::min(ceil_div(s.m, split.rows), blocks.block_rows);
  const int64_t columns =
      std::min(ceil_div(panels_of(s.n), split.columns) * kSgemmPanel, blocks.block_columns);
  return {ceil_div(rows * depth, 16) * 16, s.packed ? 0 : columns * depth,
          blocks.max_rows * kSgemmPanel + 16};
}

}  // namespace greenkernels::cpu
