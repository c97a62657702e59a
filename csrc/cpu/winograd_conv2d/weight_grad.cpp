// The weight gradient of winograd_conv2d on the CPU: cuts it into work for threads and runs the stages of
// weight_grad.inl on it.
#include <algorithm>
#include <type_traits>

#include "api/winograd_conv2d.h"
#include "api/winograd_transforms.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/winograd_conv2d/weight_grad_stages.h"

#define GK_KERNEL "cpu/winograd_conv2d/weight_grad.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::winograd_grad_stages<T, T>(tile)

namespace greenkernels::cpu {

namespace {

template <typename T, typename S>
WinogradGradStages<T, S> select_stages(int tile) {
  if constexpr (!std::is_same_v<T, S>) {
    return winograd_grad_half_stages<S>(tile);
  } else if constexpr (std::is_same_v<T, double>) {
    return scalar::winograd_grad_stages<double, double>(tile);
  } else {
    return GK_SELECT_ISA(winograd_grad_stages<float, float>)(tile);
  }
}

// What is in work: a chunk of tiles, transformed for all input channels and for the panels from first_panel.
template <typename T>
struct Chunk {
  int64_t index, tiles, first_panel;
  T *v, *z;

  T* z_panel(int64_t panel) const { return z + (panel - first_panel) * tiles * kWinogradPanel; }
};

// Transforms a part of a chunk: 16 input channels if `piece` is less than their number of blocks, else the
// panel of output channels `piece` - that number after the first.
template <typename T, typename S>
void transform(const WinogradGradJob<T, S>& job, const WinogradGradStages<T, S>& stages,
               const Chunk<T>& chunk, int64_t part, int64_t piece, T* stage) {
  const int64_t block = chunk.index * job.plan.parts + part;
  const int64_t offset = job.input.first_tile(block) - job.first_tile(chunk.index);
  if (piece < job.in_blocks) {
    // The stage itself moves on by `piece` blocks of channels of a part; they are those of a chunk here.
    T* v = chunk.v + (piece * (chunk.tiles - job.input.rows(block)) + offset) * 16;
    stages.input(job.input, block, piece, piece + 1, v, stage);
  } else {
    const int64_t panel = chunk.first_panel + piece - job.in_blocks;
    stages.grad(job, block, panel, chunk.z_panel(panel) + offset * job.panel_width(panel), stage);
  }
}

// Every thread by itself: transforms its chunks one by one and adds up their products.
template <typename T, typename S>
void add_chunks(const WinogradGradJob<T, S>& job, const WinogradGradStages<T, S>& stages, int64_t begin,
                int64_t end, T* sums) {
  const ScratchLease scratch((job.v_size() + job.z_size() + job.stage_size()) * sizeof(T));
  T *v = scratch.as<T>(), *z = v + job.v_size(), *stage = z + job.z_size();
  std::fill_n(sums, job.share_size(), T(0));
  for (int64_t index = begin; index < end; ++index) {
    const Chunk<T> chunk{index, job.rows(index), 0, v, z};
    for (int64_t part = 0; part < job.plan.parts; ++part)
      for (int64_t piece = 0; piece < job.in_blocks + job.panels; ++piece)
        transform(job, stages, chunk, part, piece, stage);
    for (int64_t panel = 0; panel < job.panels; ++panel) {
      const WinogradGradSlice slice{panel, 0, job.in_blocks, chunk.tiles, chunk.tiles};
      stages.multiply(job, slice, v, chunk.z_panel(panel), sums + job.sums_at(panel, 0));
    }
  }
}

// From the sums of all shares of the panels [first, last) to grad_weight.
template <typename T, typename S>
void make_filters(const WinogradGradJob<T, S>& job, const WinogradGradStages<T, S>& stages, int64_t first,
                  int64_t last, const T* sums) {
  parallel_for((last - first) * job.in_blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = first + i / job.in_blocks, block = i % job.in_blocks;
      const T* at = sums + job.sums_at(panel, block) - job.sums_at(first, 0);
      stages.filters(job, panel, block, at, job.plan.shares, job.share_size());
    }
  });
}

template <typename T, typename S>
void run_apart(const WinogradGradJob<T, S>& job, const WinogradGradStages<T, S>& stages) {
  const int64_t chunks = job.plan.chunks, shares = job.plan.shares;
  const ScratchLease sums(shares * job.share_size() * sizeof(T));
  parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t share = begin; share < end; ++share) {
      add_chunks(job, stages, chunks * share / shares, chunks * (share + 1) / shares,
                 sums.as<T>() + share * job.share_size());
    }
  });
  make_filters(job, stages, 0, job.panels, sums.as<T>());
}

// One task of run_together: a share of the depth of a chunk, some input channels, a panel of output channels.
// Where nothing else adds to its sums they live no longer than the task.
template <typename T, typename S>
void multiply_task(const WinogradGradJob<T, S>& job, const WinogradGradStages<T, S>& stages,
                   const Chunk<T>& chunk, int64_t task, T* sums) {
  const auto& plan = job.plan;
  const int64_t groups = (job.in_blocks + plan.group - 1) / plan.group;
  const int64_t share = task % plan.shares, panel = chunk.first_panel + task / plan.shares / groups;
  const int64_t begin = task / plan.shares % groups * plan.group;
  const int64_t end = std::min(begin + plan.group, job.in_blocks);
  const int64_t first = chunk.tiles * share / plan.shares, last = chunk.tiles * (share + 1) / plan.shares;
  const bool fused = plan.chunks == 1 && plan.shares == 1;
  if (!fused)
    sums += share * job.share_size() + job.sums_at(panel, begin) - job.sums_at(chunk.first_panel, 0);
  if (chunk.index == 0) std::fill_n(sums, job.sums_size(panel, end - begin), T(0));
  stages.multiply(job, {panel, begin, end, last - first, chunk.tiles}, chunk.v + first * 16,
                  chunk.z_panel(panel) + first * job.panel_width(panel), sums);
  for (int64_t block = begin; fused && block < end; ++block)
    stages.filters(job, panel, block, sums + job.sums_size(panel, block - begin), 1, 0);
}

// All threads together: they transform a chunk, then share out the products of its panels and input channels.
template <typename T, typename S>
void run_together(const WinogradGradJob<T, S>& job, const WinogradGradStages<T, S>& stages) {
  const auto& plan = job.plan;
  const bool fused = plan.chunks == 1 && plan.shares == 1;
  const int64_t group_size = plan.group * job.sums_size(0, 1),
                groups = (job.in_blocks + plan.group - 1) / plan.group;
  const ScratchLease maps((job.v_size() + job.z_size()) * sizeof(T));
  const ScratchLease all_sums(fused ? 0 : plan.shares * job.share_size() * sizeof(T));
  for (int64_t first = 0; first < job.panels; first += plan.panels) {
    const int64_t last = std::min(first + plan.panels, job.panels);
    for (int64_t index = 0; index < plan.chunks; ++index) {
      const Chunk<T> chunk{index, job.rows(index), first, maps.as<T>(), maps.as<T>() + job.v_size()};
      // A lone chunk of input stays transformed for all panels.
      const int64_t from = first > 0 && plan.chunks == 1 ? job.in_blocks : 0;
      const int64_t pieces = job.in_blocks + last - first - from;
      parallel_for(plan.parts * pieces, 1, [&](int64_t begin, int64_t end) {
        const ScratchLease stage(job.stage_size() * sizeof(T));
        for (int64_t i = begin; i < end; ++i)
          transform(job, stages, chunk, i / pieces, from + i % pieces, stage.as<T>());
      });
      parallel_for((last - first) * groups * plan.shares, 1, [&](int64_t begin, int64_t end) {
        const ScratchLease own(fused ? group_size * sizeof(T) : 0);
        for (int64_t i = begin; i < end; ++i)
          multiply_task(job, stages, chunk, i, (fused ? own : all_sums).template as<T>());
      });
    }
    if (!fused) make_filters(job, stages, first, last, all_sums.as<T>());
  }
}

template <typename T, typename S>
void run(const WinogradWeightGradArgs<T, S>& args) {
  if (args.in_c == 0 || args.out_c == 0) return;
  if (args.batch == 0 || args.out_h() == 0 || args.out_w() == 0) {  // a sum of no terms
    std::fill_n(args.grad_weight, args.out_c * args.in_c * 9, T(0));
    return;
  }
  const WinogradGradStages<T, S> stages = select_stages<T, S>(args.tile);
  const WinogradGradJob<T, S> job = winograd_grad_job(args, num_threads(), cache_sizes().l2);
  job.plan.apart ? run_apart(job, stages) : run_together(job, stages);
}

}  // namespace

void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<float>& args) { run(args); }
void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<double>& args) { run(args); }
void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<float, BFloat16>& args) { run(args); }
void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<float, Float16>& args) { run(args); }

}  // namespace greenkernels::cpu
