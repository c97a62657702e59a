// Scratch memory for kernels: a process-wide list of buffers that are leased for the length of one call and
// kept for the next.
#pragma once

#include <cstdint>

namespace greenkernels::cpu {

// A 64-byte-aligned buffer, uninitialised, returned to the list on destruction. At most kScratchCacheBytes
// stay on the list. Throws std::bad_alloc. Safe to use from any thread.
class ScratchLease {
 public:
  explicit ScratchLease(int64_t bytes);
  ~ScratchLease();
  ScratchLease(const ScratchLease&) = delete;
  ScratchLease& operator=(const ScratchLease&) = delete;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  int64_t capacity_;
};

inline constexpr int64_t kScratchCacheBytes = int64_t{256} << 20;

// Bytes now held by the list and by leases, for reports and tests.
int64_t scratch_bytes();

}  // namespace greenkernels::cpu
