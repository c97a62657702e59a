// The torch side of direct_conv2d: the ops and their registration.
#include <torch/csrc/stable/library.h>

#include "ops/conv2d_run.h"
#include "ops/direct_conv2d_entries.h"

namespace greenkernels::ops {
namespace {

struct OnCpu : CpuConvolution {
  template <typename Make>
  static Tensor pack(const char* op, const Tensor& weight, int64_t size, const Make& make) {
    return ops::pack(op, weight, size,
                     [&](auto* plain, auto* packed) { cpu::direct_conv2d_pack(make(plain, packed)); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("direct_conv2d_pack", TORCH_BOX(&direct_conv2d_pack<OnCpu>));
  m.impl("direct_conv2d", TORCH_BOX(&direct_conv2d<OnCpu>));
  m.impl("direct_conv2d.out", TORCH_BOX(&direct_conv2d_out<OnCpu>));
  m.impl("direct_conv2d_packed", TORCH_BOX(&direct_conv2d_packed<OnCpu>));
  m.impl("direct_conv2d_packed.out", TORCH_BOX(&direct_conv2d_packed_out<OnCpu>));
}

}  // namespace greenkernels::ops
