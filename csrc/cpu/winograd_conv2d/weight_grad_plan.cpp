// The choices behind WinogradGradPlan.
#include "cpu/winograd_conv2d/weight_grad_plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMaxStagedBytes = 16 << 20;  // transformed tiles of a chunk that all threads share
constexpr int64_t kMaxSumsBytes = 16 << 20;    // sums that outlive a chunk
constexpr int64_t kPartTiles = 32;  // a part: long enough for runs of whole lines, short enough to share out
constexpr int64_t kMinShareTiles = 64;      // depth below which a share does not pay for adding up its sums
constexpr int64_t kMinTaskFlops = 1 << 20;  // about 10 us of one core: less is not worth waking a thread
constexpr int64_t kMaxGroup = 4;            // blocks of 16: a task's sums of all taps take 288 KiB of L2

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Sizes {
  int64_t taps, in_blocks, panels;
  int64_t v_bytes, z_bytes;  // of a transformed tile: of all input channels, of one panel of output channels
  int64_t sums_bytes;        // of one panel and all input channels
};

Sizes sizes_of(const WinogradGradProblem& p) {
  const int64_t taps = int64_t{p.tile + 2} * (p.tile + 2), in_blocks = ceil_div(p.in_c, 16);
  const int64_t panel = taps * kWinogradPanel * p.element_bytes;
  return {taps,
          in_blocks,
          ceil_div(p.out_c, kWinogradPanel),
          taps * in_blocks * 16 * p.element_bytes,
          panel,
          in_blocks * 16 * panel};
}

// Each thread takes chunks whose transformed tiles fit in half of its L2; its sums fit in the other half.
WinogradGradPlan plan_apart(const WinogradGradProblem& p, const Sizes& s, int64_t threads) {
  const int64_t fit = std::max<int64_t>(1, p.l2_bytes / 2 / (s.v_bytes + s.panels * s.z_bytes));
  const int64_t chunks = ceil_div(p.tiles, fit);
  WinogradGradPlan plan{};
  plan.apart = true;
  // Where a thread gets few chunks, rounded up so that all threads get as many.
  plan.chunks = std::min(p.tiles, chunks <= 8 * threads ? ceil_div(chunks, threads) * threads : chunks);
  plan.shares = std::min(threads, plan.chunks);
  plan.panels = s.panels;
  plan.group = s.in_blocks;
  return plan;
}

// All threads transform a chunk, then share out the products.
WinogradGradPlan plan_together(const WinogradGradProblem& p, const Sizes& s, int64_t threads) {
  WinogradGradPlan plan{};
  const int64_t whole = p.tiles * (s.v_bytes + s.panels * s.z_bytes);
  const bool fits_at_once = p.tiles * (s.v_bytes + s.z_bytes) <= 2 * kMaxStagedBytes;
  if (fits_at_once) {  // one chunk: sums need not outlive it, so only the transformed tiles limit the panels
    const int64_t left = 2 * kMaxStagedBytes - p.tiles * s.v_bytes;
    plan.chunks = 1;
    plan.panels = std::clamp<int64_t>(left / (p.tiles * s.z_bytes), 1, s.panels);
  } else {
    plan.panels = std::clamp<int64_t>(kMaxSumsBytes / s.sums_bytes, 1, s.panels);
    plan.chunks = std::min(p.tiles, ceil_div(whole, kMaxStagedBytes));
  }
  plan.group = std::min(kMaxGroup, s.in_blocks);
  const auto tasks = [&] { return plan.panels * ceil_div(s.in_blocks, plan.group); };
  while (plan.group > 1 && tasks() < 4 * threads) plan.group /= 2;
  const int64_t most =
      std::min(p.tiles / plan.chunks / kMinShareTiles, kMaxSumsBytes / (plan.panels * s.sums_bytes));
  plan.shares = std::clamp<int64_t>(ceil_div(threads, tasks()), 1, std::max<int64_t>(1, most));
  return plan;
}

}  // namespace

WinogradGradPlan winograd_grad_plan(const WinogradGradProblem& p) {
  const Sizes s = sizes_of(p);
  const int64_t flops = 2 * s.taps * p.in_c * p.out_c * p.tiles;
  const int64_t threads = flops < 2 * kMinTaskFlops ? 1 : p.threads;
  const bool sums_fit = s.panels * s.sums_bytes <= p.l2_bytes / 2;
  WinogradGradPlan plan = sums_fit ? plan_apart(p, s, threads) : plan_together(p, s, threads);
  plan.parts = ceil_div(ceil_div(p.tiles, plan.chunks), kPartTiles);
  return plan;
}

template <typename T, typename S>
WinogradGradJob<T, S> winograd_grad_job(const WinogradWeightGradArgs<T, S>& args, int threads,
                                        int64_t l2_bytes) {
  WinogradGradJob<T, S> job{};
  const int64_t tiles_h = ceil_div(args.out_h(), args.tile), tiles_w = ceil_div(args.out_w(), args.tile);
  const int64_t tiles = args.batch * tiles_h * tiles_w;
  job.plan =
      winograd_grad_plan({tiles, args.in_c, args.out_c, args.tile, int64_t{sizeof(T)}, threads, l2_bytes});
  job.grad_weight = args.grad_weight;
  job.taps = int64_t{args.tile + 2} * (args.tile + 2);
  job.depth = ceil_div(tiles, job.plan.chunks);
  job.in_blocks = ceil_div(args.in_c, 16);
  job.panels = ceil_div(args.out_c, kWinogradPanel);

  const auto map = [&](const S* data, MapLayout layout, int64_t channels, int64_t blocks) {
    WinogradJob<T, S> map{};
    map.args.input = data;
    map.args.input_layout = layout;
    map.args.batch = args.batch;
    map.args.in_c = channels;
    map.args.out_c = args.out_c;
    map.args.tile = args.tile;
    map.plan.blocks = job.plan.chunks * job.plan.parts;
    map.plan.max_rows = job.depth;
    map.tiles_h = tiles_h, map.tiles_w = tiles_w, map.tiles = tiles;
    map.taps = job.taps;
    map.channel_blocks = blocks;
    return map;
  };
  job.input = map(args.input, args.input_layout, args.in_c, job.in_blocks);
  job.input.args.h = args.h, job.input.args.w = args.w;
  job.input.args.pad_h = args.pad_h, job.input.args.pad_w = args.pad_w;
  job.grad = map(args.grad, args.grad_layout, args.out_c, ceil_div(args.out_c, 16));
  job.grad.args.h = args.out_h(), job.grad.args.w = args.out_w();
  job.strip_tiles = std::min(tiles_w, ceil_div(tiles, job.input.plan.blocks));
  return job;
}

template WinogradGradJob<float> winograd_grad_job(const WinogradWeightGradArgs<float>&, int, int64_t);
template WinogradGradJob<double> winograd_grad_job(const WinogradWeightGradArgs<double>&, int, int64_t);
template WinogradGradJob<float, BFloat16> winograd_grad_job(const WinogradWeightGradArgs<float, BFloat16>&,
                                                            int, int64_t);
template WinogradGradJob<float, Float16> winograd_grad_job(const WinogradWeightGradArgs<float, Float16>&, int,
                                                           int64_t);

}  // namespace greenkernels::cpu
