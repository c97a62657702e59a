// The choices behind WinogradPlan.
#include "cpu/winograd_conv2d/plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMaxGroup = 8;             // beyond this a panel of the weight is read often enough for its traffic to vanish
constexpr int64_t kMaxStagedBytes = 32 << 20;  // scratch for the transformed input of all blocks
constexpr int64_t kMinTaskFlops = 1 << 20;   // about 10 us of one core: less is not worth waking a thread

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// As few blocks as the micro-kernel allows; where a thread gets few, rounded up so that all threads get as many.
int64_t count_blocks(const WinogradProblem& p) {
  const int64_t blocks = ceil_div(p.tiles, p.max_rows);
  const bool few = blocks <= 8 * p.threads;
  return std::min(p.tiles, few ? ceil_div(blocks, p.threads) * p.threads : blocks);
}

}  // namespace

WinogradPlan winograd_plan(const WinogradProblem& p) {
  WinogradPlan plan{};
  const int64_t taps = int64_t{p.tile + 2} * (p.tile + 2);
  const int64_t flops = 2 * taps * std::max<int64_t>(p.in_c, 1) * p.out_c * p.tiles;
  WinogradProblem balanced = p;
  if (flops < 2 * kMinTaskFlops) balanced.threads = 1;
  plan.blocks = count_blocks(balanced);
  plan.max_rows = ceil_div(p.tiles, plan.blocks);
  plan.grain = std::max<int64_t>(1, kMinTaskFlops / std::max<int64_t>(1, flops / plan.blocks));

  const int64_t channels = ceil_div(p.in_c, 16) * 16;
  const int64_t input_block_bytes = taps * channels * plan.max_rows * p.element_bytes;
  const int64_t product_block_bytes = taps * kWinogradPanel * plan.max_rows * p.element_bytes;
  const int64_t fit = p.l2_bytes / 2 / (input_block_bytes + product_block_bytes);
  plan.group = std::clamp<int64_t>(fit, 1, std::min(kMaxGroup, plan.blocks));

  // Bytes from beyond L2: with blocks outermost each group streams the whole weight; with panels outermost each panel
  // streams the whole transformed input, unless that stays in L2.
  const int64_t panels = ceil_div(p.out_c, kWinogradPanel);
  const int64_t weight_bytes = winograd_packed_size(p.out_c, p.in_c, p.tile) * p.element_bytes;
  const int64_t staged_bytes = input_block_bytes * plan.blocks;
  const int64_t blocks_outer = ceil_div(plan.blocks, plan.group) * weight_bytes;
  const int64_t panels_outer = weight_bytes + (staged_bytes > p.l2_bytes / 2 ? staged_bytes * panels : staged_bytes);
  const bool idle_threads = plan.blocks < balanced.threads;
  plan.panels_outer = staged_bytes <= kMaxStagedBytes && panels > 1 && (idle_threads || panels_outer < blocks_outer);
  return plan;
}

template <typename T>
WinogradJob<T> winograd_job(const WinogradConv2dArgs<T>& args, int64_t max_rows, int threads, int64_t l2_bytes) {
  WinogradJob<T> job{};
  job.args = args;
  job.tiles_h = ceil_div(args.out_h(), args.tile);
  job.tiles_w = ceil_div(args.out_w(), args.tile);
  job.tiles = args.batch * job.tiles_h * job.tiles_w;
  job.taps = int64_t{args.tile + 2} * (args.tile + 2);
  job.channel_blocks = ceil_div(args.in_c, 16);
  job.panels = ceil_div(args.out_c, kWinogradPanel);
  job.plan = winograd_plan({job.tiles, args.in_c, args.out_c, args.tile, int64_t{sizeof(T)}, max_rows, threads, l2_bytes});
  return job;
}

template WinogradJob<float> winograd_job(const WinogradConv2dArgs<float>&, int64_t, int, int64_t);
template WinogradJob<double> winograd_job(const WinogradConv2dArgs<double>&, int64_t, int, int64_t);

}  // namespace greenkernels::cpu
