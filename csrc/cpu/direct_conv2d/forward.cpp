// direct_conv2d on the CPU: cuts the convolution into work for threads and runs the stages of forward.inl on
// it.
#include <algorithm>
#include <type_traits>

#include "api/direct_conv2d.h"
#include "cpu/clamp.h"
#include "cpu/direct_conv2d/panels.h"
#include "cpu/direct_conv2d/plan.h"
#include "cpu/direct_conv2d/strips.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/prefetch.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

// The stages of one instruction set. v, stage and sums are scratch, laid out as DirectJob says.
template <typename T>
struct DirectStages {
  DirectMicro micro;
  void (*gather)(const DirectJob<T>& job, int64_t begin, int64_t end, T* v, T* stage);
  void (*panel)(const DirectJob<T>& job, int64_t panel, int64_t begin, int64_t end, const T* v, T* sums);
  void (*stage_strip)(const StripJob<T>& job, int64_t begin, int64_t end, T* stage);
  void (*strip_panel)(const StripJob<T>& job, int64_t panel, int64_t begin, int64_t end, const int64_t* runs,
                      const T* stage, T* sums);
};

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/direct_conv2d/forward.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::direct_stages<T>()

namespace greenkernels::cpu {

namespace {

template <typename T>
DirectStages<T> select_stages() {
  if constexpr (std::is_same_v<T, double>) {
    return scalar::direct_stages<double>();
  } else {
    return GK_SELECT_ISA(direct_stages<float>)();
  }
}

// [begin, end) of the panels of a weight, or of what else is counted.
struct Range {
  int64_t begin, end;
};

// Blocks outermost, on this thread: gathers a group of blocks, then streams the weight past them.
template <typename T>
void stream_past_blocks(const DirectJob<T>& job, const DirectStages<T>& stages, Range blocks, Range panels) {
  const int64_t group = job.plan.group;
  const int64_t size = group * job.block_stride() + job.sums_size() + job.stage_size();
  const ScratchLease scratch(size * sizeof(T));
  T* v = scratch.as<T>();
  T* sums = v + group * job.block_stride();
  T* stage = sums + job.sums_size();
  for (int64_t first = blocks.begin; first < blocks.end; first += group) {
    const int64_t last = std::min(first + group, blocks.end);
    stages.gather(job, first, last, v, stage);
    for (int64_t panel = panels.begin; panel < panels.end; ++panel)
      stages.panel(job, panel, first, last, v, sums);
  }
}

template <typename T>
void run_blocks_outer(const DirectJob<T>& job, const DirectStages<T>& stages) {
  parallel_for(job.plan.blocks, job.plan.grain, [&](int64_t begin, int64_t end) {
    stream_past_blocks(job, stages, {begin, end}, {0, job.panels});
  });
}

// Panels outermost: all input is gathered first, then each thread streams its share of the weight once.
template <typename T>
void run_panels_outer(const DirectJob<T>& job, const DirectStages<T>& stages) {
  const int64_t blocks = job.plan.blocks, group = job.plan.group;
  const ScratchLease gathered(blocks * job.block_stride() * sizeof(T));
  T* v = gathered.as<T>();
  parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease stage(job.stage_size() * sizeof(T));
    for (int64_t first = begin; first < end; first += group) {
      stages.gather(job, first, std::min(first + group, end), v + first * job.block_stride(), stage.as<T>());
    }
  });
  // Few panels: the blocks of a panel are shared out too.
  const int64_t shares = std::min<int64_t>(blocks, (2 * num_threads() + job.panels - 1) / job.panels);
  parallel_for(job.panels * shares, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease sums(job.sums_size() * sizeof(T));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t share = i % shares, first = blocks * share / shares, last = blocks * (share + 1) / shares;
      stages.panel(job, i / shares, first, last, v + first * job.block_stride(), sums.as<T>());
    }
  });
}

// Where the runs of products lie in what the micro-kernel of strips reads, counted from the first value.
template <typename T>
void list_runs(const StripJob<T>& job, int64_t* runs) {
  const int64_t columns =
      job.strip.runs / job.args.filter.kernel_h;  // 1 where the taps of a row lie side by side
  for (int64_t i = 0; i < job.args.filter.kernel_h; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      *runs++ = i * job.args.dilation_h * job.strip.row_step + j * job.args.dilation_w * job.strip.pixel_step;
    }
  }
}

// Units of strips, on this thread.
template <typename T>
void stream_past_strips(const StripJob<T>& job, const DirectStages<T>& stages, const int64_t* runs,
                        Range units, Range panels) {
  const int64_t sums_size = job.strip_sums_size(stages.micro.max_rows);
  const ScratchLease scratch((sums_size + job.strip_size() + 16) * sizeof(T));
  T* sums = scratch.as<T>();
  T* stage = sums + sums_size;
  for (int64_t first = units.begin; first < units.end;) {
    int64_t last = std::min(first + job.strip.group, units.end);
    if (job.strip.staged) {
      last = std::min(last, (first / job.out_h + 1) * job.out_h);  // of one image
      stages.stage_strip(job, first, last, stage);
    }
    for (int64_t panel = panels.begin; panel < panels.end; ++panel)
      stages.strip_panel(job, panel, first, last, runs, stage, sums);
    first = last;
  }
}

template <typename T>
void run_strips(const StripJob<T>& job, const DirectStages<T>& stages) {
  const ScratchLease offsets(job.strip.runs * sizeof(int64_t));
  int64_t* runs = offsets.as<int64_t>();
  list_runs(job, runs);
  parallel_for(job.strip.units, job.strip.grain, [&](int64_t begin, int64_t end) {
    stream_past_strips(job, stages, runs, {begin, end}, {0, job.panels});
  });
}

template <typename T>
void run(const DirectConv2dArgs<T>& args) {
  if (args.batch == 0 || args.filter.out_c == 0 || args.out_h() == 0 || args.out_w() == 0) return;
  const DirectStages<T> stages = select_stages<T>();
  const DirectJob<T> job = direct_job(args, stages.micro, num_threads(), cache_sizes().l2);
  const StripJob<T> strips = strip_job(job, stages.micro, num_threads(), cache_sizes());
  if (takes_strips(strips, stages.micro)) return run_strips(strips, stages);
  job.plan.panels_outer ? run_panels_outer(job, stages) : run_blocks_outer(job, stages);
}

}  // namespace

void direct_conv2d_panels(const DirectConv2dArgs<float>& args, int64_t begin, int64_t end) {
  const DirectStages<float> stages = select_stages<float>();
  const DirectJob<float> job = direct_job(args, stages.micro, 1, cache_sizes().l2);
  const StripJob<float> strips = strip_job(job, stages.micro, 1, cache_sizes());
  if (!takes_strips(strips, stages.micro) || strips.strip.narrow) {
    return stream_past_blocks(job, stages, {0, job.plan.blocks}, {begin, end});
  }
  const ScratchLease offsets(strips.strip.runs * sizeof(int64_t));
  list_runs(strips, offsets.as<int64_t>());
  stream_past_strips(strips, stages, offsets.as<int64_t>(), {0, strips.strip.units}, {begin, end});
}

void direct_conv2d(const DirectConv2dArgs<float>& args) { run(args); }
void direct_conv2d(const DirectConv2dArgs<double>& args) { run(args); }

}  // namespace greenkernels::cpu
