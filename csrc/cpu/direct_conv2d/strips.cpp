// The choices behind StripPlan.
#include "cpu/direct_conv2d/strips.h"

#include <algorithm>

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMinTaskFlops = 1 << 20;  // about 10 us of one core: less is not worth waking a thread
constexpr int64_t kSetBytes = 4096;  // addresses this far apart share a set of L1 on the CPUs there are
constexpr int64_t kSetLines = 8;     // rows of a block in one set that leave room for others

constexpr int64_t kSpread = 16;  // added to the step from pixel to pixel, these spread a block over all sets
constexpr int64_t kMinNarrowRun = 16;          // below, values side by side do not fill a vector
constexpr int64_t kMaxFlatGroup = 64;          // blocks: enough for the traffic of the weight to vanish
constexpr int64_t kMaxStagedBytes = 16 << 20;  // of a thread

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Rows of a block that fall into the same set of L1.
int64_t rows_in_a_set(int64_t step_bytes, int64_t rows) {
  int64_t common = kSetBytes;
  while (step_bytes % common) common /= 2;
  return ceil_div(rows, kSetBytes / common);
}

// Slices of about `depth` products.
StripSlices cut_slices(int64_t runs, int64_t run_length, int64_t depth) {
  if (run_length > depth) {
    const int64_t length = ceil_div(ceil_div(run_length, ceil_div(run_length, depth)), 16) * 16;
    const int64_t cuts = ceil_div(run_length, length);
    return {runs * cuts, 1, length, cuts};
  }
  const int64_t together = std::min(runs, depth / run_length);
  return {ceil_div(runs, together), together, run_length, 1};
}

template <typename T>
bool is_flat(const DirectConv2dArgs<T>& args) {
  return args.filter.taps() == 1 && args.stride_h == 1 && args.stride_w == 1 && !args.pad_h && !args.pad_w;
}

// How the kernel reads the input: in place, or through a copy where there is padding to add, or where the
// rows of a block would drive each other out of L1.
template <typename T>
void plan_reading(StripJob<T>& job, int64_t max_rows) {
  const auto& args = job.args;
  const DirectFilter& filter = args.filter;
  StripPlan& plan = job.strip;
  const bool few = filter.out_c <= kNarrowChannels && filter.groups == 1;
  const bool crowded = !few && rows_in_a_set(job.in_c * args.stride_w * sizeof(T), max_rows) > kSetLines;
  plan.staged = args.pad_h || args.pad_w || crowded;
  plan.flat = is_flat(args) && !crowded;
  plan.pixel_step = job.in_c + (crowded ? kSpread : 0);
  plan.column_stride = plan.staged && filter.kernel_w == 1 ? args.stride_w : 1;
  plan.row_stride = plan.staged && filter.kernel_h == 1 ? args.stride_h : 1;
  plan.row_step = (plan.staged ? job.staged_columns() : args.w) * plan.pixel_step;
  const bool adjacent = args.dilation_w == 1 && filter.groups == 1 && plan.pixel_step == job.in_c;
  plan.runs = filter.kernel_h * (adjacent ? 1 : filter.kernel_w);
  plan.run_length = job.depth / plan.runs;
  plan.narrow = few && plan.run_length >= kMinNarrowRun;
}

}  // namespace

template <typename T>
StripJob<T> strip_job(const DirectJob<T>& job, const DirectMicro& micro, int threads,
                      const CacheSizes& caches) {
  StripJob<T> strips{job, {}};
  StripPlan& plan = strips.strip;
  if (job.depth == 0) return strips;
  plan_reading(strips, micro.max_rows);
  // A whole panel goes past each block, unless it would drive the input out of L2.
  const int64_t bytes = sizeof(T), column = kDirectPanel * bytes;
  const int64_t slice = std::max<int64_t>(16, caches.l1d * 2 / 3 / column / 16 * 16);
  const bool large = job.depth * column > caches.l2 / 4;
  plan.slices = cut_slices(plan.runs, plan.run_length, large ? slice : job.depth);

  const int64_t rows = plan.narrow ? kNarrowBlock : micro.max_rows;
  plan.units = plan.flat ? ceil_div(job.pixels, rows) : job.args.batch * job.out_h;
  plan.unit_blocks = plan.flat ? 1 : ceil_div(job.out_w, rows);
  const int64_t read = plan.flat ? rows * job.in_c : strips.row_advance();  // by a unit
  const int64_t halo = plan.flat ? 0 : strips.strip_rows(1) * plan.row_step - read;
  const int64_t fit = (caches.l2 / 2 / bytes - halo) / read;
  plan.group = std::clamp<int64_t>(fit, 1, plan.flat ? kMaxFlatGroup : job.out_h);
  const int64_t flops = 2 * job.depth * job.args.filter.out_c * job.pixels / plan.units;
  plan.grain = std::max<int64_t>(1, kMinTaskFlops / std::max<int64_t>(1, flops));
  if (threads > 1) plan.group = std::min(plan.group, std::max(plan.grain, ceil_div(plan.units, threads)));
  return strips;
}

template <typename T>
bool takes_strips(const StripJob<T>& job, const DirectMicro& micro) {
  const auto& args = job.args;
  if (args.input_layout != MapLayout::kNhwc || args.out_layout != MapLayout::kNhwc) return false;
  if (job.depth == 0 || (job.plan.panels_outer && !job.strip.narrow)) return false;
  const int64_t width = job.strip.flat ? job.pixels : job.out_w;
  return (job.strip.narrow || 4 * width >= 3 * micro.max_rows) &&
         job.strip_size() * int64_t{sizeof(T)} <= kMaxStagedBytes;
}

template StripJob<float> strip_job(const DirectJob<float>&, const DirectMicro&, int, const CacheSizes&);
template StripJob<double> strip_job(const DirectJob<double>&, const DirectMicro&, int, const CacheSizes&);
template bool takes_strips(const StripJob<float>&, const DirectMicro&);
template bool takes_strips(const StripJob<double>&, const DirectMicro&);

}  // namespace greenkernels::cpu
