// winograd_conv2d on the CPU: cuts the convolution into work for threads and runs the three stages of
// forward.inl on it.
#include <algorithm>
#include <type_traits>

#include "api/winograd_conv2d.h"
#include "api/winograd_transforms.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/winograd_conv2d/plan.h"

namespace greenkernels::cpu {

// The stages of one instruction set and tile size. v, products and stage are scratch, laid out as WinogradJob
// says.
template <typename T>
struct WinogradStages {
  int64_t max_rows;  // rows of the micro-kernel
  void (*input)(const WinogradJob<T>& job, int64_t block, int64_t channel_begin, int64_t channel_end, T* v,
                T* stage);
  void (*multiply)(const WinogradJob<T>& job, int64_t panel, int64_t block_begin, int64_t block_end,
                   const T* v, T* products);
  void (*output)(const WinogradJob<T>& job, int64_t panel, int64_t block, const T* products, T* stage);
};

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/winograd_conv2d/forward.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::winograd_stages<T>(tile)

namespace greenkernels::cpu {

namespace {

template <typename T>
WinogradStages<T> select_stages(int tile) {
  if constexpr (std::is_same_v<T, double>) {
    return scalar::winograd_stages<double>(tile);
  } else {
    return GK_SELECT_ISA(winograd_stages<float>)(tile);
  }
}

// Blocks outermost: a thread transforms a group of blocks, then streams the weight past them.
template <typename T>
void run_blocks_outer(const WinogradJob<T>& job, const WinogradStages<T>& stages) {
  const int64_t group = job.plan.group;
  parallel_for(job.plan.blocks, job.plan.grain, [&](int64_t begin, int64_t end) {
    const ScratchLease scratch(
        (group * (job.input_block_stride() + job.product_block_stride()) + job.stage_size()) * sizeof(T));
    T* v = scratch.as<T>();
    T* products = v + group * job.input_block_stride();
    T* stage = products + group * job.product_block_stride();
    for (int64_t first = begin; first < end; first += group) {
      const int64_t last = std::min(first + group, end);
      for (int64_t block = first; block < last; ++block) {
        stages.input(job, block, 0, job.channel_blocks, v + (block - first) * job.input_block_stride(),
                     stage);
      }
      for (int64_t panel = 0; panel < job.panels; ++panel) {
        stages.multiply(job, panel, first, last, v, products);
        for (int64_t block = first; block < last; ++block) {
          stages.output(job, panel, block, products + (block - first) * job.product_block_stride(), stage);
        }
      }
    }
  });
}

// Panels outermost: all input is transformed first, then each thread streams its share of the weight once.
template <typename T>
void run_panels_outer(const WinogradJob<T>& job, const WinogradStages<T>& stages) {
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
  // Few panels: the blocks of a panel are shared out too.
  const int64_t shares = std::min<int64_t>(blocks, (2 * num_threads() + job.panels - 1) / job.panels);
  parallel_for(job.panels * shares, 1, [&](int64_t begin, int64_t end) {
    const int64_t share_blocks = (blocks + shares - 1) / shares;
    const ScratchLease scratch((share_blocks * job.product_block_stride() + job.stage_size()) * sizeof(T));
    T* products = scratch.as<T>();
    T* stage = products + share_blocks * job.product_block_stride();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = i / shares, share = i % shares;
      const int64_t first = blocks * share / shares, last = blocks * (share + 1) / shares;
      stages.multiply(job, panel, first, last, v + first * job.input_block_stride(), products);
      for (int64_t block = first; block < last; ++block) {
        stages.output(job, panel, block, products + (block - first) * job.product_block_stride(), stage);
      }
    }
  });
}

template <typename T>
void run(const WinogradConv2dArgs<T>& args) {
  if (args.batch == 0 || args.out_c == 0 || args.out_h() == 0 || args.out_w() == 0) return;
  const WinogradStages<T> stages = select_stages<T>(args.tile);
  const WinogradJob<T> job = winograd_job(args, stages.max_rows, num_threads(), cache_sizes().l2);
  job.plan.panels_outer ? run_panels_outer(job, stages) : run_blocks_outer(job, stages);
}

}  // namespace

void winograd_conv2d(const WinogradConv2dArgs<float>& args) { run(args); }
void winograd_conv2d(const WinogradConv2dArgs<double>& args) { run(args); }

}  // namespace greenkernels::cpu
