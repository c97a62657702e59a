// The choices behind DepthwisePlan.
#include "cpu/depthwise_conv2d/plan.h"

#include <algorithm>

#include "cpu/clamp.h"

namespace greenkernels::cpu {

namespace {

constexpr int64_t kMinTaskFlops = 1 << 18;  // about 3 us of one core: less is not worth waking a thread
constexpr int64_t kChunkBytes = 24 << 10;   // of weights: half of an L1 cache
constexpr int64_t kLeastChunk = 64;         // channels: fewer leave memory in pieces too short to fetch ahead
constexpr int64_t kUnitsPerThread = 4;      // for threads to balance
constexpr int64_t kPlaneElements = 6 << 10;  // of a staged band: 24 KiB, half of an L1 cache

int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Whether tiles.inl has the filter.
template <typename T, typename S>
bool takes_tiles(const DepthwiseConv2dArgs<T, S>& args) {
  const int64_t stride = args.stride_h, kernel_w = args.filter.kernel_w;
  if (args.h == 0 || args.w == 0) return false;  // no input to point into
  return args.dilation_h == 1 && args.dilation_w == 1 && stride == args.stride_w && stride <= 2 &&
         (kernel_w == 3 || kernel_w == 5 || kernel_w == 7) && args.filter.kernel_h >= stride;
}

template <typename T, typename S>
void plan_pixels(DepthwiseJob<T, S>& job, int64_t tile_rows, int threads) {
  const DepthwiseFilter& filter = job.args.filter;
  DepthwisePlan& plan = job.plan;
  plan.tiles = takes_tiles(job.args);
  plan.band_rows = plan.tiles ? tile_rows : 1;
  plan.bands = div_up(job.out_h, plan.band_rows);
  const int64_t fits = std::max(kLeastChunk, kChunkBytes / int64_t(filter.taps() * sizeof(T)));
  plan.chunks = div_up(filter.channels, fits);
  const int64_t rows = job.args.batch * plan.bands;
  if (threads > 1 && rows * plan.chunks < kUnitsPerThread * threads) {
    const int64_t most = std::max<int64_t>(plan.chunks, filter.channels / kLeastChunk);
    plan.chunks = std::clamp(div_up(kUnitsPerThread * threads, rows), plan.chunks, most);
  }
  const int64_t lanes = div_up(filter.channels, kDepthwiseLanes);
  plan.chunk = div_up(lanes, plan.chunks) * kDepthwiseLanes;
  plan.chunks = div_up(filter.channels, plan.chunk);
  plan.units = rows * plan.chunks;
}

template <typename T, typename S>
void plan_planes(DepthwiseJob<T, S>& job) {
  DepthwisePlan& plan = job.plan;
  plan.tiles = false;
  plan.chunk = 1;
  plan.chunks = job.args.filter.channels;
  const int64_t row = job.args.stride_h * (job.out_w * job.args.stride_w + job.args.filter.kernel_w);
  plan.bands = std::min(job.out_h, div_up(job.out_h * row, kPlaneElements));
  plan.band_rows = div_up(job.out_h, plan.bands);
  plan.bands = div_up(job.out_h, plan.band_rows);
  plan.units = job.args.batch * plan.chunks * plan.bands;
}

}  // namespace

template <typename T, typename S>
DepthwiseJob<T, S> depthwise_job(const DepthwiseConv2dArgs<T, S>& args, int64_t tile_rows, int threads) {
  DepthwiseJob<T, S> job{};
  job.args = args;
  job.out_h = args.out_h();
  job.out_w = args.out_w();
  job.clamped = !args.skip && is_clamp(args.activation);
  job.low = clamp_low<T>(args.activation);
  job.high = clamp_high<T>(args.activation);
  args.out_layout == MapLayout::kNhwc ? plan_pixels(job, tile_rows, threads) : plan_planes(job);
  const int64_t outputs = args.batch * args.filter.channels * job.out_h * job.out_w;
  const int64_t flops = 2 * args.filter.taps() * outputs / job.plan.units;
  job.plan.grain = std::max<int64_t>(1, kMinTaskFlops / std::max<int64_t>(1, flops));
  return job;
}

template DepthwiseJob<float, float> depthwise_job(const DepthwiseConv2dArgs<float>&, int64_t, int);
template DepthwiseJob<double, double> depthwise_job(const DepthwiseConv2dArgs<double>&, int64_t, int);
template DepthwiseJob<float, BFloat16> depthwise_job(const DepthwiseConv2dArgs<float, BFloat16>&, int64_t,
                                                     int);
template DepthwiseJob<float, Float16> depthwise_job(const DepthwiseConv2dArgs<float, Float16>&, int64_t, int);

}  // namespace greenkernels::cpu
