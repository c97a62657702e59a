// Peak loops on all threads: float32 at each level by peak_loop.inl, dot products where the CPU has them.
#include "cpu/peak_loop.h"

#include <atomic>

#include "cpu/isa.h"
#include "cpu/parallel.h"

#define GK_KERNEL "cpu/peak_loop.inl"
#include "cpu/foreach_isa.h"

namespace greenkernels::cpu {

namespace {

// Read at run time, so that the compiler cannot work out where a loop ends up.
volatile float factor = 0.5f, offset = 1.0f;
volatile int bytes = 0x01020304, halves = 0x3a833a83;  // 1 to 4; 0.001 twice in bfloat16: sums stay small
std::atomic<uint64_t> sink;                            // where results go that nobody wants

constexpr int kChains = 12;  // as in peak_loop.inl
constexpr int64_t kSteps = 1024;

#if defined(__x86_64__)

// x and y are no constants and the chains are returned: no step can be left out. vpdpbusd is written out,
// since gcc 12 copies the accumulator of its intrinsic, and at AVX2 spills it, on every step.
__attribute__((target("avx512f,avx512vnni"))) int vnni512_rounds(int64_t rounds) {
  const __m512i x = _mm512_set1_epi32(bytes), y = _mm512_set1_epi32(bytes);
  __m512i chain[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chain[i] = _mm512_set1_epi32(i);
  for (int64_t step = 0; step < rounds * kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) asm("vpdpbusd %2, %1, %0" : "+v"(chain[i]) : "v"(x), "v"(y));
  }
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) chain[0] = _mm512_add_epi32(chain[0], chain[i]);
  int lanes[16];
  _mm512_storeu_si512(lanes, chain[0]);
  return lanes[0];
}

__attribute__((target("avx2,avxvnni"))) int vnni256_rounds(int64_t rounds) {
  const __m256i x = _mm256_set1_epi32(bytes), y = _mm256_set1_epi32(bytes);
  __m256i chain[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chain[i] = _mm256_set1_epi32(i);
  for (int64_t step = 0; step < rounds * kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(chain[i]) : "x"(x), "x"(y));
  }
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) chain[0] = _mm256_add_epi32(chain[0], chain[i]);
  return _mm_cvtsi128_si32(_mm256_castsi256_si128(chain[0]));
}

__attribute__((target("avx512f,avx512bf16"))) int bf16_rounds(int64_t rounds) {
  const __m512bh x = (__m512bh)_mm512_set1_epi32(halves), y = (__m512bh)_mm512_set1_epi32(halves);
  __m512 chain[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chain[i] = _mm512_set1_ps(float(i));
  for (int64_t step = 0; step < rounds * kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chain[i] = _mm512_dpbf16_ps(chain[i], x, y);
  }
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) chain[0] = _mm512_add_ps(chain[0], chain[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, chain[0]);
  return int(lanes[0]);
}

bool wide_vnni() { return isa() == Isa::kAvx512 && cpu_features().avx512_vnni; }

#elif defined(__aarch64__)

int sdot_rounds(int64_t rounds) {
  const int32x4_t x = vdupq_n_s32(bytes), y = vdupq_n_s32(bytes);
  int32x4_t chain[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chain[i] = vdupq_n_s32(i);
  for (int64_t step = 0; step < rounds * kSteps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
      asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(chain[i]) : "w"(x), "w"(y));
    }
  }
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) chain[0] = vaddq_s32(chain[0], chain[i]);
  return vgetq_lane_s32(chain[0], 0);
}

#endif

// One round of a loop: the operations in it, and the function that runs many.
struct Loop {
  int64_t operations;
  int (*rounds)(int64_t rounds);
};

int fma_loop(int64_t rounds) { return int(GK_SELECT_ISA(fma_rounds)(rounds, factor, offset)); }

Loop find_loop(PeakLoop loop) {
  [[maybe_unused]] constexpr int64_t kInstructions = kChains * kSteps;
#if defined(__x86_64__)
  if (loop == PeakLoop::kVnni && wide_vnni()) return {2 * 64 * kInstructions, vnni512_rounds};
  if (loop == PeakLoop::kVnni) return {2 * 32 * kInstructions, vnni256_rounds};
  if (loop == PeakLoop::kBf16) return {2 * 32 * kInstructions, bf16_rounds};
#elif defined(__aarch64__)
  if (loop == PeakLoop::kVnni) return {2 * 16 * kInstructions, sdot_rounds};
#endif
  return {GK_SELECT_ISA(fma_operations)(), fma_loop};
}

}  // namespace

const char* peak_loop_name(PeakLoop loop) {
  switch (loop) {
    case PeakLoop::kFma:
      return "fma";
    case PeakLoop::kVnni:
      return "vnni";
    case PeakLoop::kBf16:
      return "bf16";
  }
  return "unknown";
}

bool has_peak_loop(PeakLoop loop) {
  if (loop == PeakLoop::kFma) return true;
#if defined(__x86_64__)
  const CpuFeatures& features = cpu_features();
  if (loop == PeakLoop::kVnni) return wide_vnni() || (isa() != Isa::kScalar && features.avx_vnni);
  return isa() == Isa::kAvx512 && features.avx512_bf16;
#else
  return loop == PeakLoop::kVnni && isa() == Isa::kNeon && cpu_features().arm_dotprod;
#endif
}

int64_t run_peak_loop(PeakLoop loop, int64_t rounds) {
  const Loop found = find_loop(loop);
  const int threads = num_threads();
  const auto run = [&] { sink += uint64_t(found.rounds(rounds)); };
  // Not parallel_for: no thread is to do the rounds of another.
  run_on_threads(threads, [](const void* of, int) { (*static_cast<const decltype(run)*>(of))(); }, &run);
  return int64_t{threads} * rounds * found.operations;
}

uint64_t read_memory(const uint64_t* data, int64_t count) {
  constexpr int64_t kGrain = 1 << 17;  // words of a task: 1 MiB
  const auto sum_of = GK_SELECT_ISA(sum_words);
  std::atomic<uint64_t> sum{0};
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) { sum += sum_of(data + begin, end - begin); });
  return sum;
}

}  // namespace greenkernels::cpu
