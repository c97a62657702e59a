// The choices behind Int8WinogradPlan.
#include "cpu/int8_winograd_conv2d/plan.h"

#include <algorithm>

#include "api/int8_winograd_conv2d.h"

namespace greenkernels::cpu {

namespace {

constexpr int64_t kGroupsAThread = 4;           // so that a slower thread can leave some to the others
constexpr int64_t kMostStagedBytes = 32 << 20;  // of the taps of all tiles, and their sums for each thread

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Int8WinogradPlan int8_winograd_plan(const Int8WinogradProblem& p) {
  // Taps of a tile, and its sums for one panel.
  const int64_t taps = kInt8WinogradTaps * ceil_div(std::max<int64_t>(p.in_c, 1), 64) * 64 * p.element_bytes;
  const int64_t sums = kInt8WinogradTaps * kInt8Panel * 4;
  const int64_t fit = std::max<int64_t>(1, p.l2_bytes / 2 / (taps + sums));
  const int64_t even = ceil_div(p.tiles, ceil_div(p.tiles, fit));  // groups differ by less than a block
  const int64_t group = std::min(p.tiles, ceil_div(even, p.max_rows) * p.max_rows);
  const bool few = p.threads > 1 && ceil_div(p.tiles, group) < kGroupsAThread * p.threads;
  if (!few) return {group, false};
  if (p.panels >= p.threads && p.tiles * (taps + p.threads * sums) <= kMostStagedBytes)
    return {p.tiles, true};
  const int64_t share = ceil_div(ceil_div(p.tiles, p.threads), p.max_rows) * p.max_rows;
  return {std::min(group, share), false};
}

}  // namespace greenkernels::cpu
