// Cache lines that are needed soon, fetched into the L2 cache by the micro-kernel while it multiplies: a few
// between its multiply-adds, since a burst of fetches would stall them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace greenkernels::cpu {

inline constexpr int64_t kCacheLine = 64;  // bytes
inline constexpr int kPrefetchLines = 4;   // of a run
inline constexpr int kPrefetchDepth = 16;  // k that the micro-kernel multiplies while it fetches a run

struct PrefetchRun {
  const char* line;  // the first line; no address can fault
  int64_t step;      // bytes from one line to the next
};

// Lines that follow one another: the micro-kernel fetches the next for every k. With step 0 the same one.
struct PrefetchStream {
  const char* next;  // no address can fault
  int64_t step;      // bytes from one fetch to the next
};

// What a call of the micro-kernel fetches: with step 1 one run after the other, with step 0 the same each
// time; and besides a stream.
struct PrefetchRuns {
  const PrefetchRun* run;
  int64_t step;
  PrefetchStream stream;
};

// Part `part` of `bytes` bytes from `first` on, for each of `parts` calls that multiply `depth` k: together
// they fetch all bytes, unless those are more than a line for every k.
inline PrefetchStream prefetch_part(const void* first, int64_t bytes, int64_t depth, int64_t part,
                                    int64_t parts) {
  const int64_t calls = depth * parts;
  const int64_t step = calls ? std::min(kCacheLine, (bytes + calls - 1) / calls) : 0;
  return {static_cast<const char*>(first) + part * depth * step, step};
}

// A list of runs, handed out call by call once `wait` runs have been asked for. `anything` is an address that
// is in the cache, for calls before and past the list.
class PrefetchList {
 public:
  PrefetchList(const PrefetchRun* runs, int64_t count, int64_t wait, const void* anything)
      : runs_(runs), left_(count), wait_(wait), idle_{static_cast<const char*>(anything), 0} {}

  PrefetchRuns take(int64_t count, PrefetchStream stream) {
    const bool waits = wait_ > 0;
    if (waits) wait_ -= count;
    if (waits || count > left_) return {&idle_, 0, stream};
    runs_ += count;
    left_ -= count;
    return {runs_ - count, 1, stream};
  }

 private:
  const PrefetchRun* runs_;
  int64_t left_;
  int64_t wait_;  // runs to be asked for before the first is handed out
  PrefetchRun idle_;
};

}  // namespace greenkernels::cpu
