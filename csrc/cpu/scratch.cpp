// The list behind ScratchLease: of the free buffers that fit, one that this thread had before is leased, else
// the smallest; too much free memory is given back.
#include "cpu/scratch.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "cpu/forks.h"
#include "cpu/huge_pages.h"

namespace greenkernels::cpu {

namespace {

struct Buffer {
  void* data;
  int64_t capacity;
  const void* thread;  // the last that had it
};

// A different address in every thread.
const void* this_thread() {
  thread_local char token;
  return &token;
}

// Whether `a` suits this thread's wish for `bytes` better: one of its own, whose lines may still be in its
// cache, unless that is far too large; then a small one.
bool suits_better(const Buffer& a, const Buffer& b, int64_t bytes) {
  const auto own = [bytes](const Buffer& x) { return x.thread == this_thread() && x.capacity <= 2 * bytes; };
  return own(a) != own(b) ? own(a) : a.capacity < b.capacity;
}

std::mutex& mutex() {
  static std::mutex instance;
  return instance;
}

[[maybe_unused]] const bool forks_wait_for_leases = forks_wait<mutex>();

// Never destroyed: a lease may end after static destructors ran.
std::vector<Buffer>& free_buffers() {
  static auto* instance = new std::vector<Buffer>;
  return *instance;
}

// Guarded by mutex(), like the list.
int64_t held_bytes = 0;  // by the list and by leases
int64_t free_bytes = 0;  // by the list
size_t held_buffers =
    0;  // on the list and leased; the list has room for all, so that a lease ends without allocating

Buffer allocate(int64_t bytes) {
  const int64_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
  const int64_t capacity = (std::max<int64_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, capacity);
  if (!data) throw std::bad_alloc();
  prefer_huge_pages(data, capacity);
  return {data, capacity, nullptr};
}

}  // namespace

ScratchLease::ScratchLease(int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex());
  auto& list = free_buffers();
  auto best = list.end();
  for (auto it = list.begin(); it != list.end(); ++it) {
    if (it->capacity >= bytes && (best == list.end() || suits_better(*it, *best, bytes))) best = it;
  }
  if (best == list.end()) {
    list.reserve(held_buffers + 1);
    const Buffer buffer = allocate(bytes);
    ++held_buffers;
    held_bytes += buffer.capacity;
    data_ = buffer.data;
    capacity_ = buffer.capacity;
    return;
  }
  data_ = best->data;
  capacity_ = best->capacity;
  free_bytes -= capacity_;
  list.erase(best);
}

// Allocates nothing, so nothing but the lock itself could throw here.
ScratchLease::~ScratchLease() {
  std::lock_guard<std::mutex> lock(mutex());
  auto& list = free_buffers();
  list.push_back({data_, capacity_, this_thread()});
  free_bytes += capacity_;
  while (free_bytes > kScratchCacheBytes) {  // the buffer that has been free for longest goes first
    std::free(list.front().data);
    free_bytes -= list.front().capacity;
    held_bytes -= list.front().capacity;
    --held_buffers;
    list.erase(list.begin());
  }
}

int64_t scratch_bytes() {
  std::lock_guard<std::mutex> lock(mutex());
  return held_bytes;
}

}  // namespace greenkernels::cpu
