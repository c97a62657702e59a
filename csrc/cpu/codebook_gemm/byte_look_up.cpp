// What this CPU looks bytes up by.
#include "cpu/codebook_gemm/byte_look_up.h"

#include <atomic>

namespace greenkernels::cpu {
namespace {

std::atomic<bool> allowed{true};

bool has_vbmi() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512vbmi") != 0;
#else
  return false;
#endif
}

}  // namespace

bool vbmi() {
  static const bool has = has_vbmi();
  return has && allowed.load(std::memory_order_relaxed);
}

bool set_vbmi(bool wanted) { return allowed.exchange(wanted); }

}  // namespace greenkernels::cpu
