// The parts that all CPU kernels stand on: instruction-set levels, scratch leases, flushed denormals.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::cpu;

void levels_ascend_from_scalar() {
  const auto& levels = isa_levels();
  GK_EXPECT(levels.front() == Isa::kScalar, "first level is %s", isa_name(levels.front()));
  for (size_t i = 1; i < levels.size(); ++i) GK_EXPECT(levels[i - 1] < levels[i], "level %zu", i);
}

void set_isa_forces_and_returns_the_level_before() {
  const Isa before = isa();
  GK_EXPECT(set_isa("scalar") == before && isa() == Isa::kScalar, "now %s", isa_name(isa()));
  set_isa(isa_name(before));
}

void set_isa_names_what_it_knows() {
  std::string message;
  try {
    set_isa("mmx");
  } catch (const std::invalid_argument& error) {
    message = error.what();
  }
  GK_EXPECT(message.find("scalar") != std::string::npos && message.find("got mmx") != std::string::npos, "%s",
            message.c_str());
}

void caches_have_sensible_sizes() {
  const CacheSizes& sizes = cache_sizes();
  GK_EXPECT(sizes.l1d >= 8 << 10 && sizes.l2 >= sizes.l1d && sizes.l3 > 0, "%ld %ld %ld", long(sizes.l1d),
            long(sizes.l2), long(sizes.l3));
}

void leases_do_not_overlap_and_are_reused() {
  void* first;
  {
    const ScratchLease a(1000), b(3 << 20);
    first = b.as<void>();
    GK_EXPECT(a.as<void>() != b.as<void>(), "one buffer leased twice");
    GK_EXPECT(reinterpret_cast<uintptr_t>(a.as<void>()) % 64 == 0, "not aligned");
  }
  const int64_t held = scratch_bytes();
  const ScratchLease again(3 << 20);
  GK_EXPECT(again.as<void>() == first && scratch_bytes() == held, "a free buffer that fits was not reused");
}

void many_threads_may_lease_at_once() {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 200; ++i) {
        const ScratchLease lease(4096 + 64 * i);
        auto* data = lease.as<volatile int>();
        for (int j = 0; j < 1024; ++j) data[j] = t;
        for (int j = 0; j < 1024; ++j) wrong += data[j] != t;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  GK_EXPECT(wrong == 0, "%d words overwritten by another thread", wrong.load());
}

void free_scratch_is_capped() {
  {
    const ScratchLease huge(kScratchCacheBytes + (1 << 20));
  }
  GK_EXPECT(scratch_bytes() <= kScratchCacheBytes, "%ld bytes kept", long(scratch_bytes()));
}

// The product is denormal: zero within a body, itself outside of it.
void bodies_flush_denormals_and_leave_the_thread_as_it_was() {
  if (std::getenv("GREENKERNELS_TEST_EMULATED")) return;  // valgrind has no flag for it
  volatile float small = 1e-30f, tiny = 1e-10f;
  std::atomic<int> kept{0};
  parallel_for(8, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) kept += small * tiny != 0;
  });
  GK_EXPECT(kept == 0, "%d of 8 bodies saw a denormal", kept.load());
  GK_EXPECT(small * tiny != 0, "the caller's thread flushes denormals");
}

}  // namespace

int main() {
  levels_ascend_from_scalar();
  set_isa_forces_and_returns_the_level_before();
  set_isa_names_what_it_knows();
  caches_have_sensible_sizes();
  leases_do_not_overlap_and_are_reused();
  many_threads_may_lease_at_once();
  free_scratch_is_capped();
  bodies_flush_denormals_and_leave_the_thread_as_it_was();
  return greenkernels::test::result();
}
