// The stages of the weight gradient for maps of 16-bit numbers: weight_grad.inl compiled once per instruction
// set.
#include <type_traits>

#include "api/winograd_conv2d.h"
#include "api/winograd_transforms.h"
#include "cpu/isa.h"
#include "cpu/winograd_conv2d/weight_grad_stages.h"

#define GK_KERNEL "cpu/winograd_conv2d/weight_grad.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::winograd_grad_stages<T, S>(tile)

namespace greenkernels::cpu {

template <>
WinogradGradStages<float, BFloat16> winograd_grad_half_stages(int tile) {
  return GK_SELECT_ISA(winograd_grad_stages<float, BFloat16>)(tile);
}

template <>
WinogradGradStages<float, Float16> winograd_grad_half_stages(int tile) {
  return GK_SELECT_ISA(winograd_grad_stages<float, Float16>)(tile);
}

}  // namespace greenkernels::cpu
