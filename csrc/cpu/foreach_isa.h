// Includes the file named by GK_KERNEL once per instruction set, each copy in a namespace of its own (scalar,
// avx2, avx512; on Arm scalar, neon) and compiled for that instruction set by a target pragma, but for NEON,
// which every 64-bit Arm CPU has. So no build sets flags per file,
// and no inline function that files share is ever compiled for a CPU that lacks it. Include standard and
// project headers before this one: what stands inside the pragma must be the kernel alone. Within an .inl use
// free and member functions, no in-class friends, no lambdas. Define GK_KERNEL_BF16 as well for a fourth
// copy, avx512bf16, in which GK_ISA_BF16 is defined: avx512 and the instructions of AVX512-BF16.
#ifndef GK_KERNEL
#error "define GK_KERNEL as the file to include, then include cpu/foreach_isa.h"
#endif

#include <cmath>
#include <cstdint>

#include "cpu/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// gcc 12 takes the deliberately undefined operand inside its own AVX-512 intrinsics for a mistake of ours.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

// Under a sanitizer every access of an unrolled block grows by a check: forced inlining would take the
// compiler minutes.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GK_INLINE inline
#else
#define GK_INLINE inline __attribute__((always_inline))
#endif

#define GK_ISA_WIDTH 1  // floats in a vector
namespace greenkernels::cpu::scalar {
#include "cpu/vec.inl"
#include GK_KERNEL
}  // namespace greenkernels::cpu::scalar
#undef GK_ISA_WIDTH

#if defined(__x86_64__)

#define GK_ISA_WIDTH 8
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
namespace greenkernels::cpu::avx2 {
#include "cpu/vec.inl"
#include GK_KERNEL
}  // namespace greenkernels::cpu::avx2
#pragma GCC pop_options
#undef GK_ISA_WIDTH

#define GK_ISA_WIDTH 16
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
namespace greenkernels::cpu::avx512 {
#include "cpu/vec.inl"
#include GK_KERNEL
}  // namespace greenkernels::cpu::avx512
#pragma GCC pop_options

#ifdef GK_KERNEL_BF16
#define GK_ISA_BF16
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")
namespace greenkernels::cpu::avx512bf16 {
#include "cpu/vec.inl"
#include GK_KERNEL
}  // namespace greenkernels::cpu::avx512bf16
#pragma GCC pop_options
#undef GK_ISA_BF16
#endif
#undef GK_ISA_WIDTH

#elif defined(__aarch64__)

// gcc 12 moves loads so far ahead of their use, in the pass that this leaves out, that the sums of a
// micro-kernel no longer fit in the registers. Cores that need loads to be early reorder by themselves.
#define GK_ISA_WIDTH 4
#pragma GCC push_options
#if !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif
namespace greenkernels::cpu::neon {
#include "cpu/vec.inl"
#include GK_KERNEL
}  // namespace greenkernels::cpu::neon
#pragma GCC pop_options
#undef GK_ISA_WIDTH

#endif

#pragma GCC diagnostic pop
#undef GK_INLINE
#undef GK_KERNEL
#undef GK_KERNEL_BF16
