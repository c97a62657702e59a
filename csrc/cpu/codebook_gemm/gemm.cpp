// codebook_gemm on the CPU: the part few_bits with codes that a table is read by.
#include "api/codebook_gemm.h"

#include "cpu/codebook_gemm/byte_look_up.h"
#include "cpu/few_bits/gemm.h"
#include "cpu/int8_range.h"
#include "cpu/isa.h"

namespace greenkernels::cpu {
using CodebookStages = FewBitStages<CodebookGemmArgs, CodebookPackArgs>;
static_assert(kFewBitPanel == kCodebookPanel);
}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/codebook_gemm/stages.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::codebook_stages(bits, has_vnni, has_vbmi)

namespace greenkernels::cpu {

namespace {

CodebookStages select_stages(int64_t bits) { return GK_SELECT_ISA(codebook_stages)(bits, vnni(), vbmi()); }

}  // namespace

void codebook_gemm_pack(const CodebookPackArgs& args) {
  for (int i = 0; i < kCodebookHead; ++i) {
    const int entries = 1 << args.shape.bits;
    args.packed[i] = i < 16 ? uint8_t(args.table[i % entries] - kCodebookLeast) : 0;
  }
  few_bit_pack(select_stages(args.shape.bits), args);
}

void codebook_gemm(const CodebookGemmArgs& args) { few_bit_gemm(select_stages(args.shape.bits), args); }

}  // namespace greenkernels::cpu
