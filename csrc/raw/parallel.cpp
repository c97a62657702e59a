// The threads of the kernels on std::thread, for programs without torch: the pybind11 module and the C++
// tests. One pool for the process; workers sleep between calls. A parallel_for beside another one runs on its
// own thread alone: correct, and rare in the programs that this is for.
#include "raw/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cpu/forks.h"
#include "cpu/parallel.h"

namespace greenkernels {
namespace {

// One call of run_on_threads.
struct Work {
  int threads;
  void (*task)(const void* context, int i);
  const void* context;
};

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { serve(i); });
  }

  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Worker i does task i, the caller task 0 and those for which there is no worker.
  void run(const Work& work) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      work_ = &work;
      ++generation_;
      busy_ = static_cast<int>(workers_.size());
    }
    wake_.notify_all();
    work.task(work.context, 0);
    for (int i = threads(); i < work.threads; ++i) work.task(work.context, i);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void serve(int i) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (uint64_t seen = 0;;) {
      wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      const Work* work = work_;
      lock.unlock();
      if (i < work->threads) work->task(work->context, i);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const Work* work_ = nullptr;  // valid while busy_ > 0
  uint64_t generation_ = 0;     // counts calls of run()
  int busy_ = 0;                // workers that have not finished *work_
  bool stop_ = false;
};

std::mutex pool_mutex;  // held for the length of a parallel_for
std::atomic<int> wanted_threads{static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};

std::unique_ptr<Pool>& kept_pool() {
  static std::unique_ptr<Pool> instance;
  return instance;
}

// The pool, with as many threads as wanted now. Needs pool_mutex.
Pool& pool() {
  std::unique_ptr<Pool>& instance = kept_pool();
  if (!instance || instance->threads() != wanted_threads) instance = std::make_unique<Pool>(wanted_threads);
  return *instance;
}

// A child has none of the threads, which could be neither woken nor joined: it makes a pool of its own.
std::mutex& of_pool() { return pool_mutex; }
void leave_pool() { static_cast<void>(kept_pool().release()); }
[[maybe_unused]] const bool forks_wait_for_pool = cpu::forks_wait<of_pool, leave_pool>();

}  // namespace

namespace raw {

void set_num_threads(int count) {
  if (count < 1)
    throw std::invalid_argument("set_num_threads: count must be at least 1, got " + std::to_string(count));
  wanted_threads = count;
}

}  // namespace raw

namespace cpu {

int thread_limit() { return wanted_threads; }

void run_on_threads(int threads, void (*task)(const void* context, int i), const void* context) {
  if (!pool_mutex.try_lock()) {
    for (int i = 0; i < threads; ++i) task(context, i);
    return;
  }
  const std::lock_guard<std::mutex> lock(pool_mutex, std::adopt_lock);
  pool().run({threads, task, context});
}

}  // namespace cpu
}  // namespace greenkernels
