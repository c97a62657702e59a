// What this CPU can do, and which level of it kernels use. Detected once; nothing is assumed from the build
// machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace greenkernels::cpu {

// Ascending; a level includes those before it of its architecture. avx2 means AVX2 + FMA + F16C; avx512 means
// F + BW + DQ + VL; neon is what every 64-bit Arm CPU has.
enum class Isa { kScalar, kAvx2, kAvx512, kNeon };

const char* isa_name(Isa isa);

// Levels that this CPU (and this build) can run, ascending. Always holds kScalar.
const std::vector<Isa>& isa_levels();

// The level in use: the highest, unless GREENKERNELS_ISA or set_isa lowered it.
Isa isa();

// Forces a level and returns the one before. Throws std::invalid_argument for a name that is unknown or that
// this CPU lacks.
Isa set_isa(const std::string& name);

// Instructions that no level stands for; a kernel that uses them asks here, and for the level it builds on.
struct CpuFeatures {
  bool avx_vnni, avx512_vnni, avx512_bf16;
  bool arm_dotprod;
};
const CpuFeatures& cpu_features();

// Whether kernels may sum four 8-bit products in one instruction (vpdpbusd; SDOT on Arm): this CPU has it in
// the registers of the level in use, and set_vnni did not forbid it.
bool vnni();

// Allows or forbids it, so that a test can run what older CPUs run; returns what held before.
bool set_vnni(bool allowed);

struct CacheSizes {
  int64_t l1d, l2, l3;  // bytes a core sees; where the system tells nothing: 32 KiB, 256 KiB, 4 MiB
};
const CacheSizes& cache_sizes();

}  // namespace greenkernels::cpu

// The function `name` of the namespace of the level in use: auto f = GK_SELECT_ISA(int8_gemm_rows).
#if defined(__x86_64__)
#define GK_SELECT_ISA(...)                                                                \
  (::greenkernels::cpu::isa() == ::greenkernels::cpu::Isa::kAvx512 ? &avx512::__VA_ARGS__ \
   : ::greenkernels::cpu::isa() == ::greenkernels::cpu::Isa::kAvx2 ? &avx2::__VA_ARGS__   \
                                                                   : &scalar::__VA_ARGS__)
#elif defined(__aarch64__)
#define GK_SELECT_ISA(...) \
  (::greenkernels::cpu::isa() == ::greenkernels::cpu::Isa::kNeon ? &neon::__VA_ARGS__ : &scalar::__VA_ARGS__)
#else
#define GK_SELECT_ISA(...) (&scalar::__VA_ARGS__)
#endif
