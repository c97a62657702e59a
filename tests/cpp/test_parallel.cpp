// parallel_for on the threads of csrc/raw/parallel.cpp: every index exactly once, the grain, pieces that
// change threads, errors, nesting, other callers.
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cpu/parallel.h"
#include "raw/parallel.h"

namespace {

using greenkernels::cpu::num_threads;
using greenkernels::cpu::parallel_for;
using greenkernels::cpu::parallel_for_pieces;
using greenkernels::raw::set_num_threads;

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::printf("failed: %s\n", what);
  ++failures;
}

bool covers_once(int64_t count, int64_t grain) {
  std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
  std::atomic<bool> small_chunk{false};
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    if (end - begin < grain && end != count) small_chunk = true;
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  for (const auto& times : seen) {
    if (times != 1) return false;
  }
  return !small_chunk;
}

void test_covers_every_index() {
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    expect(num_threads() == threads, "num_threads follows set_num_threads");
    for (const int64_t count : {0, 1, 2, 7, 64, 1001}) {
      for (const int64_t grain : {1, 3, 100})
        expect(covers_once(count, grain), "each index once, no chunk below grain");
    }
  }
}

// Index 0 is not done before all others are: so the thread that has it gives the rest of its stretch away.
void test_idle_threads_take_over() {
  constexpr int64_t kCount = 64;
  for (const int threads : {2, 3, 5}) {
    set_num_threads(threads);
    std::atomic<int64_t> done{0};
    parallel_for_pieces(kCount, 1, [&](int64_t begin, int64_t end) {
      while (begin == 0 && done < kCount - 1) std::this_thread::yield();
      done += end - begin;
    });
    expect(done == kCount, "all indices done");
  }
}

void test_one_piece_is_one_call() {
  set_num_threads(3);
  std::atomic<int> calls{0};
  parallel_for_pieces(10, 10,
                      [&](int64_t begin, int64_t end) { calls += begin == 0 && end == 10 ? 1 : 100; });
  expect(calls == 1, "one piece is done in one call");
}

void test_rethrows() {
  bool caught = false;
  try {
    parallel_for(100, 1, [](int64_t begin, int64_t) {
      if (begin > 0) throw std::runtime_error("from a body");
    });
  } catch (const std::runtime_error&) {
    caught = true;
  }
  expect(caught, "an exception of a body reaches the caller");
  expect(covers_once(100, 1), "the pool works after an exception");
}

void test_nested_and_concurrent() {
  std::atomic<int> total{0};
  const auto nested = [&] {
    parallel_for(8, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        parallel_for(10, 1, [&](int64_t b, int64_t e) { total += static_cast<int>(e - b); });
      }
    });
  };
  std::thread other(nested);
  nested();
  other.join();
  expect(total == 2 * 8 * 10, "parallel_for inside of and beside parallel_for");
}

void test_rejects_zero_threads() {
  bool caught = false;
  try {
    set_num_threads(0);
  } catch (const std::invalid_argument&) {
    caught = true;
  }
  expect(caught, "set_num_threads(0) is refused");
}

}  // namespace

int main() {
  test_covers_every_index();
  test_idle_threads_take_over();
  test_one_piece_is_one_call();
  set_num_threads(3);
  test_rethrows();
  test_nested_and_concurrent();
  test_rejects_zero_threads();
  return failures == 0 ? 0 : 1;
}
