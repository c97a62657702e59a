// torch.ops.greenkernels.peak_loop, peak_loops and read_memory: ceilings of the machine, for the measuring
// code.
#include "cpu/peak_loop.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "ops/checks.h"

namespace greenkernels::ops {
namespace {

using cpu::PeakLoop;

constexpr PeakLoop kLoops[] = {PeakLoop::kFma, PeakLoop::kVnni, PeakLoop::kBf16};

std::string peak_loops() {
  std::string names;
  for (const PeakLoop loop : kLoops) {
    if (!cpu::has_peak_loop(loop)) continue;
    names += std::string(names.empty() ? "" : ",") + cpu::peak_loop_name(loop);
  }
  return names;
}

int64_t peak_loop(const std::string& name, int64_t rounds) {
  for (const PeakLoop loop : kLoops) {
    if (name == cpu::peak_loop_name(loop) && cpu::has_peak_loop(loop))
      return cpu::run_peak_loop(loop, rounds);
  }
  fail("peak_loop", "name must be one of ", peak_loops(), " on this CPU, got ", name);
}

int64_t read_memory(const Tensor& data) {
  constexpr const char* kOp = "read_memory";
  GK_CHECK(data.scalar_type() == ScalarType::Long, kOp, "data must be int64, got ",
           dtype_name(data.scalar_type()));
  GK_CHECK(data.is_contiguous(), kOp, "data must be contiguous, got shape ", shape(data),
           " with other strides");
  return int64_t(
      cpu::read_memory(reinterpret_cast<const uint64_t*>(data.const_data_ptr<int64_t>()), data.numel()));
}

}  // namespace

// No tensor among the arguments of the first two, so there is no device to dispatch on.
STABLE_TORCH_LIBRARY_IMPL(greenkernels, CompositeExplicitAutograd, m) {
  m.impl("peak_loops", TORCH_BOX(&peak_loops));
  m.impl("peak_loop", TORCH_BOX(&peak_loop));
}
STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) { m.impl("read_memory", TORCH_BOX(&read_memory)); }

}  // namespace greenkernels::ops
