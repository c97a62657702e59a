// The cache lines of the output that a panel of products will become. Without them the stores of stage 3 wait
// for each line: on 64 channels of a 150 x 226 map that stage took 518 cycles a tile of 16 channels, with
// them 195 (Xeon, 1 thread).
#pragma once

#include "cpu/prefetch.h"
#include "cpu/winograd_conv2d/plan.h"

namespace greenkernels::cpu {

// Fills `runs` with the lines of the panel's channels of the blocks of `part`, `room` runs at most; gives
// their number, a multiple of `multiple`: the last is repeated until it is.
template <typename T, typename S>
int64_t winograd_output_lines(const WinogradJob<T, S>& job, int64_t panel, const WinogradPart& part,
                              int64_t multiple, int64_t room, PrefetchRun* runs);

}  // namespace greenkernels::cpu
