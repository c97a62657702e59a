// winograd_conv2d on the CPU: cuts the convolution into work for threads and runs the three stages of
// forward.inl on it.
#include <algorithm>
#include <type_traits>

#include "api/winograd_conv2d.h"
#include "api/winograd_transforms.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/winograd_conv2d/ahead.h"
#include "cpu/winograd_conv2d/stages.h"

#define GK_KERNEL "cpu/winograd_conv2d/forward.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::winograd_stages<T, T>(tile)

namespace greenkernels::cpu {

namespace {

template <typename T, typename S>
WinogradStages<T, S> select_stages(int tile) {
  if constexpr (!std::is_same_v<T, S>) {
    return winograd_half_stages<S>(tile);
  } else if constexpr (std::is_same_v<T, double>) {
    return scalar::winograd_stages<double, double>(tile);
  } else {
    return GK_SELECT_ISA(winograd_stages<float, float>)(tile);
  }
}

// Scratch of a thread for stages 2 and 3 of parts as large as `largest`.
template <typename T>
class PartScratch {
 public:
  template <typename S>
  PartScratch(const WinogradJob<T, S>& job, const WinogradPart& largest)
      : products_size_(job.products_size(largest)),
        room_(products_size_ / job.product_tap_stride() * (job.args.in_c / kPrefetchDepth)),
        lease_((products_size_ + job.stage_size()) * sizeof(T) + room_ * sizeof(PrefetchRun)) {}

  T* products() const { return lease_.as<T>(); }
  T* stage() const { return products() + products_size_; }

  // A list of what to fetch during the products of a part: as late as it can be, so that the weight that
  // passes through L2 does not push it out again, but for a tap at the end.
  template <typename S>
  PrefetchList ahead(const WinogradJob<T, S>& job, const WinogradPart& part) const {
    PrefetchRun* runs = reinterpret_cast<PrefetchRun*>(stage() + job.stage_size());
    const int64_t a_call = job.args.in_c / kPrefetchDepth;
    int64_t count = 0;
    for (int64_t panel = part.panel; a_call && panel < part.panel_end; ++panel)
      count += winograd_output_lines(job, panel, part, a_call, room_ - count, runs + count);
    const int64_t a_tap = (part.panel_end - part.panel) * part.blocks() * a_call;
    return {runs, count, (job.taps - 1) * a_tap - count, products()};
  }

 private:
  int64_t products_size_;
  int64_t room_;  // runs: as many as the micro-kernel can fetch
  ScratchLease lease_;
};

// Stages 2 and 3 of a part; v: transformed input of its blocks.
template <typename T, typename S>
void run_part(const WinogradJob<T, S>& job, const WinogradStages<T, S>& stages, const WinogradPart& part,
              const T* v, const PartScratch<T>& scratch) {
  PrefetchList ahead = scratch.ahead(job, part);
  stages.multiply(job, part, v, scratch.products(), ahead);
  const T* products = scratch.products();
  for (int64_t panel = part.panel; panel < part.panel_end; ++panel) {
    for (int64_t block = part.block; block < part.block_end; ++block) {
      stages.output(job, panel, block, products, scratch.stage());
      products += job.product_block_stride();
    }
  }
}

// Blocks outermost: a thread transforms a group of blocks, then streams the weight past them.
template <typename T, typename S>
void run_blocks_outer(const WinogradJob<T, S>& job, const WinogradStages<T, S>& stages) {
  const int64_t group = job.plan.group, blocks = job.plan.blocks, pieces = job.plan.pieces;
  parallel_for_pieces(pieces, 1, [&](int64_t begin_piece, int64_t end_piece) {
    const int64_t begin = blocks * begin_piece / pieces, end = blocks * end_piece / pieces;
    const ScratchLease input(group * job.input_block_stride() * sizeof(T));
    const PartScratch<T> scratch(job, {0, 1, 0, group});
    T* v = input.as<T>();
    for (int64_t first = begin; first < end; first += group) {
      const int64_t last = std::min(first + group, end);
      for (int64_t block = first; block < last; ++block) {
        stages.input(job, block, 0, job.channel_blocks, v + (block - first) * job.input_block_stride(),
                     scratch.stage());
      }
      for (int64_t panel = 0; panel < job.panels; ++panel)
        run_part(job, stages, {panel, panel + 1, first, last}, v, scratch);
    }
  });
}

constexpr int64_t kTasksAThread = 2;  // of products, so that threads end at about the same time

// Panels outermost: all input is transformed first, then each thread streams its share of the weight once.
template <typename T, typename S>
void run_panels_outer(const WinogradJob<T, S>& job, const WinogradStages<T, S>& stages) {
  const int64_t blocks = job.plan.blocks;
  const ScratchLease all_input(blocks * job.input_block_stride() * sizeof(T));
  T* v = all_input.as<T>();
  parallel_for(blocks * job.channel_blocks, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease stage(job.stage_size() * sizeof(T));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / job.channel_blocks, channel_block = i % job.channel_blocks;
      stages.input(job, block, channel_block, channel_block + 1, v + block * job.input_block_stride(),
                   stage.as<T>());
    }
  });
  // Few groups of panels: the blocks of a group are shared out too.
  const int64_t size = job.plan.panel_group, groups = (job.panels + size - 1) / size;
  const int64_t shares = std::min<int64_t>(blocks, (kTasksAThread * num_threads() + groups - 1) / groups);
  parallel_for_pieces(groups * shares, 1, [&](int64_t begin, int64_t end) {
    const PartScratch<T> scratch(job, {0, size, 0, (blocks + shares - 1) / shares});
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = i / shares * size, share = i % shares;
      const WinogradPart part{panel, std::min(panel + size, job.panels), blocks * share / shares,
                              blocks * (share + 1) / shares};
      run_part(job, stages, part, v + part.block * job.input_block_stride(), scratch);
    }
  });
}

template <typename T, typename S>
void run(const WinogradConv2dArgs<T, S>& args) {
  if (args.batch == 0 || args.out_c == 0 || args.out_h() == 0 || args.out_w() == 0) return;
  const WinogradStages<T, S> stages = select_stages<T, S>(args.tile);
  const WinogradJob<T, S> job = winograd_job(args, stages.max_rows, num_threads(), cache_sizes().l2);
  job.plan.panels_outer ? run_panels_outer(job, stages) : run_blocks_outer(job, stages);
}

}  // namespace

void winograd_conv2d(const WinogradConv2dArgs<float>& args) { run(args); }
void winograd_conv2d(const WinogradConv2dArgs<double>& args) { run(args); }
void winograd_conv2d(const WinogradConv2dArgs<float, BFloat16>& args) { run(args); }
void winograd_conv2d(const WinogradConv2dArgs<float, Float16>& args) { run(args); }

}  // namespace greenkernels::cpu
