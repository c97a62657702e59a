// Detection of instruction sets and cache sizes, and the level in use.
#include "cpu/isa.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace greenkernels::cpu {

namespace {

std::vector<Isa> detect_levels() {
  std::vector<Isa> levels{Isa::kScalar};
#if defined(__x86_64__)
  // __builtin_cpu_supports also asks the operating system whether it saves the wide registers.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
    return levels;
  levels.push_back(Isa::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    levels.push_back(Isa::kAvx512);
  }
#elif defined(__aarch64__)
  levels.push_back(Isa::kNeon);
#endif
  return levels;
}

CpuFeatures detect_features() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return {__builtin_cpu_supports("avxvnni") != 0, __builtin_cpu_supports("avx512vnni") != 0,
          __builtin_cpu_supports("avx512bf16") != 0, false};
#elif defined(__aarch64__)
  constexpr unsigned long kDotprod = 1ul << 20;  // HWCAP_ASIMDDP, which older headers lack
  return {false, false, false, (getauxval(AT_HWCAP) & kDotprod) != 0};
#else
  return {};
#endif
}

Isa find_level(const std::string& name, const char* argument) {
  std::string known;
  for (const Isa level : isa_levels()) {
    if (name == isa_name(level)) return level;
    known += std::string(known.empty() ? "" : ", ") + isa_name(level);
  }
  throw std::invalid_argument(std::string(argument) + " must be one of " + known + " on this CPU, got " +
                              name);
}

Isa initial_level() {
  const char* wish = std::getenv("GREENKERNELS_ISA");
  return wish && *wish ? find_level(wish, "GREENKERNELS_ISA") : isa_levels().back();
}

std::atomic<Isa>& level_in_use() {
  static std::atomic<Isa> level{initial_level()};
  return level;
}

std::atomic<bool> vnni_allowed{true};

int64_t cache_size(int name, int64_t otherwise) {
  const long bytes = name < 0 ? 0 : sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}

CacheSizes detect_caches() {
#if defined(_SC_LEVEL1_DCACHE_SIZE)
  return {cache_size(_SC_LEVEL1_DCACHE_SIZE, 32 << 10), cache_size(_SC_LEVEL2_CACHE_SIZE, 256 << 10),
          cache_size(_SC_LEVEL3_CACHE_SIZE, 4 << 20)};
#else
  return {cache_size(-1, 32 << 10), cache_size(-1, 256 << 10), cache_size(-1, 4 << 20)};
#endif
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kNeon:
      return "neon";
  }
  return "unknown";
}

const std::vector<Isa>& isa_levels() {
  static const std::vector<Isa> levels = detect_levels();
  return levels;
}

Isa isa() { return level_in_use().load(std::memory_order_relaxed); }

Isa set_isa(const std::string& name) { return level_in_use().exchange(find_level(name, "isa")); }

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect_features();
  return features;
}

bool vnni() {
  const Isa level = isa();
  const CpuFeatures& features = cpu_features();
  const bool has = (level == Isa::kAvx512 && features.avx512_vnni) ||
                   (level == Isa::kAvx2 && features.avx_vnni) ||
                   (level == Isa::kNeon && features.arm_dotprod);
  return has && vnni_allowed.load(std::memory_order_relaxed);
}

bool set_vnni(bool allowed) { return vnni_allowed.exchange(allowed); }

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = detect_caches();
  return sizes;
}

}  // namespace greenkernels::cpu
