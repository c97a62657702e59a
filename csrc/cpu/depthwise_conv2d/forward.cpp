// depthwise_conv2d on the CPU: cuts the convolution into work for threads and runs the stages of forward.inl
// on it.
#include <algorithm>
#include <type_traits>

#include "api/depthwise_conv2d.h"
#include "cpu/depthwise_conv2d/rows.h"
#include "cpu/depthwise_conv2d/stages.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

#define GK_KERNEL "cpu/depthwise_conv2d/forward.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::depthwise_stages<T, S>()

namespace greenkernels::cpu {

namespace {

template <typename T, typename S>
DepthwiseStages<T, S> select_stages() {
  if constexpr (std::is_same_v<T, double>) {
    return scalar::depthwise_stages<double, double>();
  } else if constexpr (std::is_same_v<S, float>) {
    return GK_SELECT_ISA(depthwise_stages<float, float>)();
  } else {
    return depthwise_half_stages<S>();
  }
}

template <typename T, typename S>
void run_planes(const DepthwiseJob<T, S>& job, const DepthwiseStages<T, S>& stages) {
  const DepthwiseFilter& filter = job.args.filter;
  const DepthwisePlane plane(job);
  const ScratchLease list(filter.taps() * sizeof(int64_t));
  int64_t* offsets = list.as<int64_t>();
  for (int64_t tap = 0; tap < filter.taps(); ++tap) {
    offsets[tap] = plane.tap_offset(job.args, tap / filter.kernel_w, tap % filter.kernel_w);
  }
  parallel_for(job.plan.units, job.plan.grain, [&](int64_t begin, int64_t end) {
    const ScratchLease scratch((plane.staged_size() + plane.sums_size()) * sizeof(T));
    stages.planes(job, begin, end, offsets, scratch.as<T>());
  });
}

// Runs a call whose maps have one layout.
template <typename T, typename S>
void run_in_place(const DepthwiseConv2dArgs<T, S>& args) {
  const DepthwiseStages<T, S> stages = select_stages<T, S>();
  const DepthwiseJob<T, S> job = depthwise_job(args, stages.tile_rows, num_threads());
  if (args.out_layout == MapLayout::kNchw) return run_planes(job, stages);
  parallel_for(job.plan.units, job.plan.grain,
               [&](int64_t begin, int64_t end) { stages.pixels(job, begin, end); });
}

// [batch][rows][columns] becomes [batch][columns][rows], in blocks whose lines stay in L1.
template <typename S>
void transpose(const S* from, S* to, int64_t batch, int64_t rows, int64_t columns) {
  constexpr int64_t kBlock = 16;
  const int64_t blocks = (rows + kBlock - 1) / kBlock;
  parallel_for(batch * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kBlock, last = std::min(first + kBlock, rows);
      const int64_t map = i / blocks * rows * columns;
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t r = first; r < last; ++r) to[map + c * rows + r] = from[map + r * columns + c];
      }
    }
  });
}

template <typename T, typename S>
void run(const DepthwiseConv2dArgs<T, S>& args) {
  const int64_t channels = args.filter.channels, pixels = args.h * args.w;
  if (args.batch == 0 || channels == 0 || args.out_h() == 0 || args.out_w() == 0) return;
  DepthwiseConv2dArgs<T, S> same = args;
  same.input_layout = args.out_layout;
  if (args.input_layout == args.out_layout || channels == 1 || pixels <= 1) return run_in_place(same);
  const ScratchLease copy(args.batch * channels * pixels * sizeof(S));
  const bool from_nchw = args.input_layout == MapLayout::kNchw;
  transpose(args.input, copy.as<S>(), args.batch, from_nchw ? channels : pixels,
            from_nchw ? pixels : channels);
  same.input = copy.as<S>();
  run_in_place(same);
}

}  // namespace

void depthwise_conv2d_rows(const DepthwiseConv2dArgs<float>& args, int64_t begin, int64_t end) {
  const DepthwiseStages<float, float> stages = select_stages<float, float>();
  const DepthwiseJob<float, float> job = depthwise_job(args, stages.tile_rows, 1);
  const DepthwisePlan& plan = job.plan;
  for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const int64_t first = chunk * plan.bands;
    stages.pixels(job, first + begin / plan.band_rows, first + (end + plan.band_rows - 1) / plan.band_rows);
  }
}

void depthwise_conv2d_chunk(const DepthwiseConv2dArgs<float>& args, int64_t chunk, int64_t index) {
  const DepthwiseStages<float, float> stages = select_stages<float, float>();
  DepthwiseJob<float, float> job = depthwise_job(args, stages.tile_rows, 1);
  DepthwisePlan& plan = job.plan;
  plan.chunk = chunk;
  plan.chunks = (args.filter.channels + chunk - 1) / chunk;
  for (int64_t n = 0; n < args.batch; ++n) {
    const int64_t first = (n * plan.chunks + index) * plan.bands;
    stages.pixels(job, first, first + plan.bands);
  }
}

void depthwise_conv2d(const DepthwiseConv2dArgs<float>& args) { run(args); }
void depthwise_conv2d(const DepthwiseConv2dArgs<double>& args) { run(args); }
void depthwise_conv2d(const DepthwiseConv2dArgs<float, BFloat16>& args) { run(args); }
void depthwise_conv2d(const DepthwiseConv2dArgs<float, Float16>& args) { run(args); }

}  // namespace greenkernels::cpu
