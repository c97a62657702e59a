// int4_gemm on the CPU: the part few_bits with codes of 4-bit integers.
#include "api/int4_gemm.h"

#include "cpu/few_bits/gemm.h"
#include "cpu/int8_range.h"
#include "cpu/isa.h"

namespace greenkernels::cpu {
using Int4Stages = FewBitStages<Int4GemmArgs, Int4PackArgs>;
static_assert(kFewBitPanel == kInt4Panel);
}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/int4_gemm/stages.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::int4_stages(has_vnni)

namespace greenkernels::cpu {

void int4_gemm_pack(const Int4PackArgs& args) { few_bit_pack(GK_SELECT_ISA(int4_stages)(vnni()), args); }

void int4_gemm(const Int4GemmArgs& args) { few_bit_gemm(GK_SELECT_ISA(int4_stages)(vnni()), args); }

}  // namespace greenkernels::cpu
