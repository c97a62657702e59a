// The choices behind DirectPlan.
#include "cpu/direct_conv2d/plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMaxGroup =
    32;  // beyond this a panel of the weight is read rarely enough for its traffic to vanish
constexpr int64_t kMaxStagedBytes = 32 << 20;  // scratch for the gathered input of all blocks
constexpr int64_t kMinTaskFlops = 1 << 20;     // about 10 us of one core: less is not worth waking a thread

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// As few blocks as the micro-kernel allows; where a thread gets few, rounded up so that all threads get as
// many.
int64_t count_blocks(const DirectProblem& p, int64_t threads) {
  const int64_t blocks = ceil_div(p.pixels, p.max_rows);
  const bool few = blocks <= 8 * threads;
  return std::min(p.pixels, few ? ceil_div(blocks, threads) * threads : blocks);
}

}  // namespace

DirectPlan direct_plan(const DirectProblem& p) {
  const int64_t gathered = p.groups * ceil_div(p.depth, 16) * 16 * p.element_bytes;  // of a pixel
  const int64_t weight = p.depth * p.out_c * p.element_bytes;
  const int64_t flops = 2 * std::max<int64_t>(p.depth, 1) * p.out_c * p.pixels;
  const int64_t threads = flops < 2 * kMinTaskFlops ? 1 : p.threads;

  DirectPlan plan{};
  plan.blocks = count_blocks(p, threads);
  plan.max_rows = ceil_div(p.pixels, plan.blocks);
  const int64_t fit = p.l2_bytes / 2 / std::max<int64_t>(1, gathered * plan.max_rows);
  plan.group = std::clamp<int64_t>(fit, 1, std::min(kMaxGroup, plan.blocks));

  // Blocks outermost, each thread streams the whole weight past each group of its blocks; panels outermost,
  // the weight is streamed once, and past it the gathered input of all pixels, unless that stays in L2.
  const int64_t busy = std::min(threads, plan.blocks), staged = gathered * p.pixels;
  const int64_t panels = p.groups * ceil_div(p.out_c / p.groups, kDirectPanel);
  const int64_t blocks_traffic = busy * ceil_div(ceil_div(plan.blocks, busy), plan.group) * weight;
  const int64_t panels_traffic = weight + (staged > p.l2_bytes / 2 ? staged * panels / p.groups : staged);
  const bool idle_threads = plan.blocks < threads;
  plan.panels_outer =
      panels > 1 && staged <= kMaxStagedBytes && (idle_threads || panels_traffic < blocks_traffic);
  if (plan.panels_outer) {
    plan.blocks = ceil_div(p.pixels, p.max_rows);
    plan.max_rows = ceil_div(p.pixels, plan.blocks);
    plan.group = std::min(plan.group, plan.blocks);
  }
  plan.grain = std::max<int64_t>(1, kMinTaskFlops / std::max<int64_t>(1, flops / plan.blocks));
  return plan;
}

template <typename T>
DirectJob<T> direct_job(const DirectConv2dArgs<T>& args, int64_t max_rows, int threads, int64_t l2_bytes) {
  DirectJob<T> job{};
  job.args = args;
  job.in_c = args.in_c();
  job.out_h = args.out_h();
  job.out_w = args.out_w();
  job.pixels = args.batch * job.out_h * job.out_w;
  job.depth = args.filter.depth();
  job.group_panels = ceil_div(args.filter.group_out_c(), kDirectPanel);
  job.panels = args.filter.groups * job.group_panels;
  job.plan = direct_plan({job.pixels, job.depth, args.filter.groups, args.filter.out_c, int64_t{sizeof(T)},
                          max_rows, threads, l2_bytes});
  return job;
}

template <typename T>
int64_t DirectJob<T>::stage_size() const {
  if (args.input_layout == MapLayout::kNhwc) return 0;
  const int64_t group_pixels = plan.group * plan.max_rows;
  const int64_t out_rows = std::min(out_h, (group_pixels - 2 + out_w) / out_w + 1);  // that they may touch
  const int64_t rows = (out_rows - 1) * args.stride_h + (args.filter.kernel_h - 1) * args.dilation_h + 1;
  return std::min(args.h, rows) * args.w * in_c + 16;  // a vector past the last pixel
}

template struct DirectJob<float>;
template struct DirectJob<double>;
template DirectJob<float> direct_job(const DirectConv2dArgs<float>&, int64_t, int, int64_t);
template DirectJob<double> direct_job(const DirectConv2dArgs<double>&, int64_t, int, int64_t);

}  // namespace greenkernels::cpu
