// The choices behind WinogradPlan.
#include "cpu/winograd_conv2d/plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMaxGroup = 8;     // beyond this the traffic of the weight vanishes anyhow
constexpr int64_t kStreamGroup = 2;  // blocks that take as long as their share of the weight takes from L3
constexpr int64_t kMaxStagedBytes = 32 << 20;  // scratch for all blocks, or for the group of a thread
constexpr int64_t kMinTaskFlops = 1 << 20;     // about 10 us of one core: less is not worth waking a thread

constexpr int64_t kPiecesAThread = 2;  // at least, where the grain allows

constexpr int64_t kPanelGroup = 2;  // where transformed input comes from outside of L2; 4 gave no more

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// As few blocks as the micro-kernel allows; where a thread gets few, rounded up so that all threads get as
// many.
int64_t count_blocks(const WinogradProblem& p, int64_t threads) {
  const int64_t blocks = ceil_div(p.tiles, p.max_rows);
  const bool few = blocks <= 8 * threads;
  return std::min(p.tiles, few ? ceil_div(blocks, threads) * threads : blocks);
}

// Pieces of at most `most` blocks, and of `least` where there are so many, that give each thread as many
// blocks as any other, or one more.
int64_t even_pieces(int64_t blocks, int64_t least, int64_t most, int64_t threads) {
  const int64_t pieces = threads * ceil_div(blocks, threads * most);
  return std::min(pieces, std::max<int64_t>(1, blocks / least));
}

struct Bytes {
  int64_t weight;          // the packed weight
  int64_t input_per_tile;  // transformed input of a tile
  int64_t product_per_tile;
};

bool weight_stays(const WinogradProblem& p, const Bytes& bytes) { return bytes.weight <= p.l2_bytes / 2; }

// Blocks whose transformed input and products leave room in L2. A weight that stays there as well needs no
// group at all. One from outside arrives in time where kStreamGroup blocks are multiplied with it; where so
// many do not stay either, more of them spare readings of the weight.
int64_t group_that_fits(const WinogradProblem& p, const Bytes& bytes, int64_t rows) {
  const int64_t block = (bytes.input_per_tile + bytes.product_per_tile) * rows;
  if (weight_stays(p, bytes))
    return std::clamp<int64_t>((p.l2_bytes / 2 - bytes.weight) / block, 1, kMaxGroup);
  if (kStreamGroup * block > p.l2_bytes * 3 / 4)
    return std::clamp<int64_t>(kMaxStagedBytes / block, 1, 2 * kStreamGroup);
  return std::clamp<int64_t>(p.l2_bytes * 2 / 5 / block, kStreamGroup, kMaxGroup);
}

// Threads share out blocks. Each thread streams the whole weight past each group of its blocks.
WinogradPlan plan_blocks_outer(const WinogradProblem& p, const Bytes& bytes, int64_t threads,
                               int64_t* traffic) {
  WinogradPlan plan{};
  plan.blocks = count_blocks(p, threads);
  plan.max_rows = ceil_div(p.tiles, plan.blocks);
  plan.panel_group = 1;
  const int64_t busy = std::min(threads, plan.blocks), most = ceil_div(plan.blocks, busy);
  const int64_t rounds = ceil_div(most, group_that_fits(p, bytes, plan.max_rows));
  plan.group = ceil_div(most, rounds);
  *traffic = busy * rounds * bytes.weight;
  return plan;
}

// Threads share out panels, after all of them transformed the input together. Each panel streams the whole
// transformed input, unless that stays in L2; the weight is streamed once.
WinogradPlan plan_panels_outer(const WinogradProblem& p, const Bytes& bytes, int64_t* traffic) {
  WinogradPlan plan{};
  plan.panels_outer = true;
  plan.blocks = ceil_div(p.tiles, p.max_rows);
  plan.max_rows = ceil_div(p.tiles, plan.blocks);
  plan.group = 1;
  const int64_t staged = bytes.input_per_tile * p.tiles, panels = ceil_div(p.out_c, kWinogradPanel);
  const bool stays = staged <= p.l2_bytes / 2;
  plan.panel_group = !stays && panels >= 2 * kPanelGroup * p.threads ? kPanelGroup : 1;
  const int64_t reads = ceil_div(panels, plan.panel_group);
  *traffic = bytes.weight + (stays ? staged : staged * (2 + reads));  // 2: written, and fetched to be written
  return plan;
}

}  // namespace

WinogradPlan winograd_plan(const WinogradProblem& p) {
  const int64_t taps = int64_t{p.tile + 2} * (p.tile + 2), channels = ceil_div(p.in_c, 16) * 16;
  const Bytes bytes{winograd_packed_size(p.out_c, p.in_c, p.tile) * p.element_bytes,
                    taps * channels * p.element_bytes, taps * kWinogradPanel * p.element_bytes};
  const int64_t flops = 2 * taps * std::max<int64_t>(p.in_c, 1) * p.out_c * p.tiles;
  const int64_t threads = flops < 2 * kMinTaskFlops ? 1 : p.threads;

  int64_t blocks_traffic, panels_traffic;
  WinogradPlan plan = plan_blocks_outer(p, bytes, threads, &blocks_traffic);
  const WinogradPlan panels_plan = plan_panels_outer(p, bytes, &panels_traffic);
  const bool staging_fits = bytes.input_per_tile * p.tiles <= kMaxStagedBytes;
  const bool idle_threads = plan.blocks < threads;
  // A piece is a group, as the weight is streamed past each; less where threads could not balance.
  const int64_t grain = std::max<int64_t>(1, kMinTaskFlops / std::max<int64_t>(1, flops / plan.blocks));
  const int64_t most = std::min(plan.group, ceil_div(plan.blocks, kPiecesAThread * threads));
  plan.pieces = even_pieces(plan.blocks, grain, std::max(grain, most), threads);
  // Where enough rows share a reading of the weight, it is read behind their products and costs nothing.
  const int64_t together =
      threads > 1 ? std::min(plan.group, ceil_div(plan.blocks, plan.pieces)) : plan.group;
  const bool hidden = weight_stays(p, bytes) || 4 * together * plan.max_rows >= 3 * kStreamGroup * p.max_rows;
  const bool less = panels_traffic < blocks_traffic || panels_plan.panel_group > 1;
  if (p.out_c > kWinogradPanel && staging_fits && (idle_threads || (!hidden && less))) plan = panels_plan;
  plan.stream_weight = !weight_stays(p, bytes);
  return plan;
}

template <typename T, typename S>
WinogradJob<T, S> winograd_job(const WinogradConv2dArgs<T, S>& args, int64_t max_rows, int threads,
                               int64_t l2_bytes) {
  WinogradJob<T, S> job{};
  job.args = args;
  job.tiles_h = ceil_div(args.out_h(), args.tile);
  job.tiles_w = ceil_div(args.out_w(), args.tile);
  job.tiles = args.batch * job.tiles_h * job.tiles_w;
  job.taps = int64_t{args.tile + 2} * (args.tile + 2);
  job.channel_blocks = ceil_div(args.in_c, 16);
  job.panels = ceil_div(args.out_c, kWinogradPanel);
  job.plan = winograd_plan(
      {job.tiles, args.in_c, args.out_c, args.tile, int64_t{sizeof(T)}, max_rows, threads, l2_bytes});
  return job;
}

template WinogradJob<float> winograd_job(const WinogradConv2dArgs<float>&, int64_t, int, int64_t);
template WinogradJob<double> winograd_job(const WinogradConv2dArgs<double>&, int64_t, int, int64_t);
template WinogradJob<float, BFloat16> winograd_job(const WinogradConv2dArgs<float, BFloat16>&, int64_t, int,
                                                   int64_t);
template WinogradJob<float, Float16> winograd_job(const WinogradConv2dArgs<float, Float16>&, int64_t, int,
                                                  int64_t);

}  // namespace greenkernels::cpu
