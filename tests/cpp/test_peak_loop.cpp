// The peak loops at every instruction set: each does what it counts, and the read touches every word once.
#include "cpu/peak_loop.h"

#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "cpu/parallel.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::cpu;

constexpr PeakLoop kLoops[] = {PeakLoop::kFma, PeakLoop::kVnni, PeakLoop::kBf16};

void loops_count_their_operations(Isa level) {
  for (const PeakLoop loop : kLoops) {
    if (!has_peak_loop(loop)) continue;
    const int64_t one = run_peak_loop(loop, 1), three = run_peak_loop(loop, 3);
    GK_EXPECT(one > 0 && three == 3 * one, "%s %s: %ld, then %ld", isa_name(level), peak_loop_name(loop),
              long(one), long(three));
    GK_EXPECT(one % num_threads() == 0, "%s %s: %ld", isa_name(level), peak_loop_name(loop), long(one));
  }
}

void a_level_forbids_wider_loops(Isa level) {
  const CpuFeatures& features = cpu_features();
  GK_EXPECT(has_peak_loop(PeakLoop::kFma), "%s", isa_name(level));
  GK_EXPECT(has_peak_loop(PeakLoop::kBf16) == (level == Isa::kAvx512 && features.avx512_bf16), "%s",
            isa_name(level));
  if (level == Isa::kScalar) GK_EXPECT(!has_peak_loop(PeakLoop::kVnni), "vnni at the scalar level");
}

void loops_have_names() {
  const std::string names[] = {peak_loop_name(PeakLoop::kFma), peak_loop_name(PeakLoop::kVnni),
                               peak_loop_name(PeakLoop::kBf16)};
  GK_EXPECT(names[0] == "fma" && names[1] == "vnni" && names[2] == "bf16", "%s %s %s", names[0].c_str(),
            names[1].c_str(), names[2].c_str());
}

void memory_is_summed(Isa level) {
  for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{17}, int64_t{300001}}) {
    std::vector<uint64_t> words(count);
    std::iota(words.begin(), words.end(), uint64_t{1});
    const uint64_t expected = uint64_t(count) * uint64_t(count + 1) / 2;
    const uint64_t sum = read_memory(words.data(), count);
    GK_EXPECT(sum == expected, "%s, %ld words: %lu", isa_name(level), long(count), (unsigned long)sum);
  }
}

}  // namespace

int main() {
  loops_have_names();
  test::for_each_isa([](Isa level) {
    loops_count_their_operations(level);
    a_level_forbids_wider_loops(level);
    memory_is_summed(level);
  });
  return test::result();
}
