// The host side of kernels with weights of a few bits: rows are quantized, then threads share out the panels
// of the weight, which each reads once.
#pragma once

#include <algorithm>

#include "cpu/few_bits/job.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

inline constexpr int64_t kFewBitTaskOps = 1
                                          << 22;  // about 6 us of one core: less is not worth waking a thread
inline constexpr int64_t kFewBitTaskElements =
    1 << 15;  // of a row, quantized, or of the weight, packed: the same

inline int64_t few_bit_grain(int64_t least, int64_t each) {
  return std::max<int64_t>(1, least / std::max<int64_t>(1, each));
}

template <typename Stages, typename PackArgs>
void few_bit_pack(const Stages& stages, const PackArgs& args) {
  parallel_for(args.shape.panels(), few_bit_grain(kFewBitTaskElements, kFewBitPanel * args.shape.k),
               [&](int64_t begin, int64_t end) { stages.pack_panels(args, begin, end); });
}

template <typename Stages, typename GemmArgs>
void few_bit_gemm(const Stages& stages, const GemmArgs& args) {
  const auto& shape = args.shape;
  if (args.m == 0 || shape.n == 0) return;
  const int64_t depth = shape.groups() * shape.group;
  const ScratchLease values(args.m * depth), starts(args.m * shape.groups() * 4), known(args.m * 8);
  const FewBitRows rows{values.as<int8_t>(), starts.as<int32_t>(), known.as<float>(),
                        known.as<float>() + args.m};
  parallel_for(args.m, few_bit_grain(kFewBitTaskElements, depth),
               [&](int64_t begin, int64_t end) { stages.pack_rows(args, begin, end, rows); });
  parallel_for(shape.panels(), few_bit_grain(kFewBitTaskOps, 2 * args.m * depth * kFewBitPanel),
               [&](int64_t begin, int64_t end) { stages.panels(args, begin, end, rows); });
}

}  // namespace greenkernels::cpu
