// winograd_conv2d_pack on the CPU: pack.inl compiled once per instruction set, panels and input channels
// shared out over threads.
#include <algorithm>
#include <type_traits>

#include "api/winograd_conv2d.h"
#include "api/winograd_transforms.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"

#define GK_KERNEL "cpu/winograd_conv2d/pack.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::winograd_pack_panel<T>(args, panel, begin, end)

namespace greenkernels::cpu {

namespace {

constexpr int64_t kChannelsPerTask = 16;  // of input: one task writes runs of 2 KB a tap

template <typename T>
auto select_pack_panel() {
  if constexpr (std::is_same_v<T, double>) {
    return &scalar::winograd_pack_panel<double>;
  } else {
    return GK_SELECT_ISA(winograd_pack_panel<float>);
  }
}

template <typename T>
void run(const WinogradPackArgs<T>& args) {
  const auto pack = select_pack_panel<T>();
  const int64_t panels = (args.out_c + kWinogradPanel - 1) / kWinogradPanel;
  const int64_t slices = (args.in_c + kChannelsPerTask - 1) / kChannelsPerTask;
  parallel_for(panels * slices, 4, [&](int64_t task_begin, int64_t task_end) {
    for (int64_t task = task_begin; task < task_end; ++task) {
      const int64_t begin = task % slices * kChannelsPerTask;
      pack(args, task / slices, begin, std::min(begin + kChannelsPerTask, args.in_c));
    }
  });
}

}  // namespace

void winograd_conv2d_pack(const WinogradPackArgs<float>& args) { run(args); }
void winograd_conv2d_pack(const WinogradPackArgs<double>& args) { run(args); }

}  // namespace greenkernels::cpu
