// Which instruction of AVX-512 codebook_gemm reads its table by. A question of this kernel alone, so it is
// not asked in cpu/isa.h, on which every kernel's rows depend.
#pragma once

namespace greenkernels::cpu {

// Whether bytes are looked up in a register of 64 (vpermb, AVX512-VBMI): this CPU has it and set_vbmi did not
// forbid it. It counts at the level avx512 alone.
bool vbmi();

// Allows or forbids it, so that a test can run what older CPUs run; returns what held before.
bool set_vbmi(bool wanted);

}  // namespace greenkernels::cpu
