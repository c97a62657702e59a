// direct_conv2d_pack on the CPU: a transposition into panels, shared out over threads. Plain loops: a weight
// is packed once but used often.
#include <algorithm>

#include "api/direct_conv2d.h"
#include "cpu/parallel.h"

namespace greenkernels::cpu {

namespace {

constexpr int64_t kChannelsPerTask = 16;  // of input: with 9 taps a task writes 18 KiB, which stays in L1

// Input channels [begin, end) of `panel` of `group`.
template <typename T>
void pack_panel(const DirectPackArgs<T>& args, int64_t group, int64_t panel, int64_t begin, int64_t end) {
  const DirectFilter& filter = args.filter;
  const int64_t taps = filter.taps(), depth = filter.depth(), group_out_c = filter.group_out_c();
  const int64_t first = panel * kDirectPanel;  // output channel within the group
  const int64_t width = group_out_c - first > kDirectHalfPanel ? kDirectPanel : kDirectHalfPanel;
  T* packed = args.packed + (group * filter.padded_group_out_c() + first) * depth;
  for (int64_t lane = 0; lane < width; ++lane) {
    const bool exists = first + lane < group_out_c;
    const T* source = args.weight + (exists ? (group * group_out_c + first + lane) * depth : 0);
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        packed[(tap * filter.group_in_c + c) * width + lane] = exists ? source[c * taps + tap] : T(0);
      }
    }
  }
}

template <typename T>
void run(const DirectPackArgs<T>& args) {
  const DirectFilter& filter = args.filter;
  if (filter.packed_size() == 0) return;
  const int64_t panels = (filter.group_out_c() + kDirectPanel - 1) / kDirectPanel;
  const int64_t slices = (filter.group_in_c + kChannelsPerTask - 1) / kChannelsPerTask;
  parallel_for(filter.groups * panels * slices, 4, [&](int64_t task_begin, int64_t task_end) {
    for (int64_t task = task_begin; task < task_end; ++task) {
      const int64_t begin = task % slices * kChannelsPerTask, panel = task / slices % panels;
      pack_panel(args, task / (slices * panels), panel, begin,
                 std::min(begin + kChannelsPerTask, filter.group_in_c));
    }
  });
}

}  // namespace

void direct_conv2d_pack(const DirectPackArgs<float>& args) { run(args); }
void direct_conv2d_pack(const DirectPackArgs<double>& args) { run(args); }

}  // namespace greenkernels::cpu
