// The stages of winograd_conv2d for maps of 16-bit numbers: forward.inl compiled once per instruction set.
#include <type_traits>

#include "api/winograd_conv2d.h"
#include "api/winograd_transforms.h"
#include "cpu/isa.h"
#include "cpu/winograd_conv2d/stages.h"

#define GK_KERNEL "cpu/winograd_conv2d/forward.inl"
#define GK_KERNEL_BF16
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512,avx512bf16}::winograd_stages<T, S>(tile)

namespace greenkernels::cpu {

template <>
WinogradStages<float, BFloat16> winograd_half_stages(int tile) {
#if defined(__x86_64__)
  if (isa() == Isa::kAvx512 && cpu_features().avx512_bf16)
    return avx512bf16::winograd_stages<float, BFloat16>(tile);
#endif
  return GK_SELECT_ISA(winograd_stages<float, BFloat16>)(tile);
}

template <>
WinogradStages<float, Float16> winograd_half_stages(int tile) {
  return GK_SELECT_ISA(winograd_stages<float, Float16>)(tile);
}

}  // namespace greenkernels::cpu
