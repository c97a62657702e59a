// The loops over blocks of rows and panels of the weight that int8_gemm and int8_conv2d share: which is
// outermost, and how threads share them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/int8_gemm/plan.h"
#include "cpu/int8_panel.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

// Calls pack(begin, end, v) to fill v, block_bytes a block, with the blocks [begin, end), and
// multiply(panel, begin, end, v, sums) with the same v for each panel; sums: scratch, sums_bytes.
template <typename Pack, typename Multiply>
struct Int8Loops {
  const Int8Plan& plan;
  int64_t panels, block_bytes, sums_bytes;
  Pack pack;
  Multiply multiply;

  // Blocks outermost: a thread packs a group of blocks, then streams the weight past them.
  void run_blocks_outer() const {
    parallel_for(plan.blocks, plan.grain, [&](int64_t begin, int64_t end) {
      const ScratchLease packed(plan.group * block_bytes), sums(sums_bytes);
      for (int64_t first = begin; first < end; first += plan.group) {
        const int64_t last = std::min(first + plan.group, end);
        pack(first, last, packed.as<char>());
        for (int64_t panel = 0; panel < panels; ++panel) {
          multiply(panel, first, last, packed.as<char>(), sums.as<int32_t>());
        }
      }
    });
  }

  // Panels outermost: all rows are packed first, then each thread streams its share of the weight once.
  void run_panels_outer() const {
    const ScratchLease packed(plan.blocks * block_bytes);
    char* v = packed.as<char>();
    parallel_for(plan.blocks, plan.pack_grain,
                 [&](int64_t begin, int64_t end) { pack(begin, end, v + begin * block_bytes); });
    parallel_for(panels, plan.grain, [&](int64_t begin, int64_t end) {
      const ScratchLease sums(sums_bytes);
      for (int64_t panel = begin; panel < end; ++panel) {
        multiply(panel, int64_t{0}, plan.blocks, v, sums.as<int32_t>());
      }
    });
  }

  void run() const { plan.panels_outer ? run_panels_outer() : run_blocks_outer(); }
};

template <typename Pack, typename Multiply>
Int8Loops(const Int8Plan&, int64_t, int64_t, int64_t, Pack, Multiply) -> Int8Loops<Pack, Multiply>;

}  // namespace greenkernels::cpu
