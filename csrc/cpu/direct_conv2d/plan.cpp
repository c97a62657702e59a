// The choices behind DirectPlan.
#include "cpu/direct_conv2d/plan.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMaxGroup =
    32;  // beyond this a panel of the weight is read rarely enough for its traffic to vanish
constexpr int64_t kMaxStagedBytes = 32 << 20;  // scratch for the gathered input of all blocks
constexpr int64_t kMinTaskFlops = 1 << 20;     // about 10 us of one core: less is not worth waking a thread

constexpr int64_t kMinRunChannels = 16;  // below, a pixel's channels fill no vector

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
  // Panels outermost, what one thread gathers the others read: a wait, and traffic between caches, for which
  // a weight that stays in L2 is too small.
  const bool idle_threads = plan.blocks < threads;
  const bool kept = threads > 1 && weight <= p.l2_bytes;
  const bool less = (kept ? 2 : 1) * panels_traffic < blocks_traffic;
  plan.panels_outer = panels > 1 && staged <= kMaxStagedBytes && (idle_threads || less);
  if (plan.panels_outer) {
    plan.blocks = ceil_div(p.pixels, p.max_rows);
    plan.max_rows = ceil_div(p.pixels, plan.blocks);
    plan.group = std::min(plan.group, plan.blocks);
  }
  plan.grain = std::max<int64_t>(1, kMinTaskFlops / std::max<int64_t>(1, flops / plan.blocks));
  return plan;
}

// Whether columns are gathered and not rows: planes hold them ready, and few channels make short runs.
template <typename T>
bool gathers_columns(const DirectConv2dArgs<T>& args) {
  return args.input_layout == MapLayout::kNchw || (args.in_c() < kMinRunChannels && args.in_c() % 16 != 0);
}

template <typename T>
DirectJob<T> direct_job(const DirectConv2dArgs<T>& args, const DirectMicro& micro, int threads,
                        int64_t l2_bytes) {
  const DirectFilter& filter = args.filter;
  DirectJob<T> job{};
  job.args = args;
  job.in_c = args.in_c();
  job.out_h = args.out_h();
  job.out_w = args.out_w();
  job.pixels = args.batch * job.out_h * job.out_w;
  job.depth = filter.depth();
  job.group_panels = ceil_div(filter.group_out_c(), kDirectPanel);
  job.panels = filter.groups * job.group_panels;
  job.columns = gathers_columns(args);
  const bool dense = args.stride_h == 1 && args.stride_w == 1 && args.pad_h == 0 && args.pad_w == 0;
  job.staged = job.columns && !(dense && args.input_layout == MapLayout::kNchw);
  job.flat = job.columns && !job.staged && filter.taps() == 1;
  job.column_step = micro.column_step;
  job.phases = filter.kernel_w == 1 ? 1 : args.stride_w;
  job.phase_width = job.out_w + (filter.kernel_w - 1) * args.dilation_w / args.stride_w;
  job.plan = direct_plan({job.pixels, job.depth, filter.groups, filter.out_c, int64_t{sizeof(T)},
                          micro.max_rows, threads, l2_bytes});
  return job;
}

template <typename T>
int64_t DirectJob<T>::stage_size() const {
  if (!columns) return depth_chunks() * 16 + 16;
  if (!staged) return 0;
  const int64_t group_pixels = plan.group * plan.max_rows;
  const int64_t out_rows = std::min(out_h, (group_pixels - 2 + out_w) / out_w + 1);  // that they may touch
  return in_c * staged_rows(out_rows) * phases * phase_width;
}

template struct DirectJob<float>;
template struct DirectJob<double>;
template DirectJob<float> direct_job(const DirectConv2dArgs<float>&, const DirectMicro&, int, int64_t);
template DirectJob<double> direct_job(const DirectConv2dArgs<double>&, const DirectMicro&, int, int64_t);

}  // namespace greenkernels::cpu
