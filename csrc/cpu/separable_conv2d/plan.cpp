// The choices behind SeparablePlan.
#include "cpu/separable_conv2d/plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kRowStep = 2;          // rows that the depthwise kernel computes together
constexpr int64_t kPiecesPerThread = 2;  // for threads to balance; more would compute more rows twice
constexpr int64_t kMostPanels = 3;       // in a chunk: what a thread writes is still near when it reads it

int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

SeparablePlan separable_plan(const SeparableConv2dArgs& args, int threads, int64_t l2_bytes) {
  const int64_t hidden = args.filter.channels * int64_t{sizeof(float)};
  const int64_t hidden_row = args.w * hidden, middle_row = args.out_w() * hidden, rows = args.out_h();
  const int64_t kept = (args.expand.packed ? args.h * hidden_row : 0) + rows * middle_row;
  SeparablePlan plan{};
  plan.whole = args.batch * kept <= threads * l2_bytes * (args.expand.packed ? 3 : 2) / 4;
  const int64_t panels = div_up(args.filter.channels, kDirectPanel);
  plan.chunk_panels = std::clamp<int64_t>(panels / (kPiecesPerThread * threads), 1, kMostPanels);
  plan.band_rows = std::max<int64_t>(1, l2_bytes / 8 / middle_row / kRowStep) * kRowStep;
  // Half of L2 for the hidden rows of a piece; maps that are all padding have none.
  const int64_t reach = (args.filter.kernel_h - 1) * args.dilation_h + 1;
  const int64_t fit = (l2_bytes / 2 / std::max<int64_t>(1, hidden_row) - reach) / args.stride_h + 1;
  const int64_t wanted = threads > 1 ? div_up(kPiecesPerThread * threads, args.batch) : 1;
  const int64_t most = std::max(plan.band_rows, args.expand.packed ? fit : rows);
  const int64_t pieces = std::max(div_up(rows, most), std::min(wanted, div_up(rows, kRowStep)));
  plan.piece_rows = div_up(div_up(rows, pieces), kRowStep) * kRowStep;
  plan.band_rows = std::min(plan.band_rows, plan.piece_rows);
  plan.piece_rows = div_up(plan.piece_rows, plan.band_rows) * plan.band_rows;
  plan.pieces = div_up(rows, plan.piece_rows);
  return plan;
}

RowRange rows_under(const SeparableConv2dArgs& args, int64_t out_begin, int64_t out_end) {
  const int64_t reach = (args.filter.kernel_h - 1) * args.dilation_h + 1;
  const int64_t begin = std::clamp<int64_t>(out_begin * args.stride_h - args.pad_h, 0, args.h);
  const int64_t end = std::clamp((out_end - 1) * args.stride_h - args.pad_h + reach, begin, args.h);
  return {begin, end};
}

}  // namespace greenkernels::cpu
