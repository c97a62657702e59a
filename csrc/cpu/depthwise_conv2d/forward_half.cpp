// The stages of depthwise_conv2d for maps of 16-bit numbers: forward.inl compiled once per instruction set.
#include <algorithm>

#include "cpu/depthwise_conv2d/stages.h"
#include "cpu/isa.h"

#define GK_KERNEL "cpu/depthwise_conv2d/forward.inl"
#define GK_KERNEL_BF16
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512,avx512bf16}::depthwise_stages<T, S>()

namespace greenkernels::cpu {

template <>
DepthwiseStages<float, BFloat16> depthwise_half_stages() {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512 && cpu_features().avx512_bf16)
    return avx512bf16::depthwise_stages<float, BFloat16>();
#endif
  return GK_SELECT_ISA(depthwise_stages<float, BFloat16>)();
}

template <>
DepthwiseStages<float, Float16> depthwise_half_stages() {
  return GK_SELECT_ISA(depthwise_stages<float, Float16>)();
}

}  // namespace greenkernels::cpu
