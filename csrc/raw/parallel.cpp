// parallel_for on std::thread, for programs without torch: the pybind11 module and the C++ tests.
// One pool for the process; workers sleep between calls. A parallel_for inside a body, or beside another one,
// runs on its own thread alone: correct, and rare in the programs that this is for.
#include "raw/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/parallel.h"

namespace greenkernels {
namespace {

thread_local bool inside = false;  // this thread runs a body

// One parallel_for: chunks are taken from a counter, so that a late worker finds less to do, not nobody to
// wait for.
struct Work {
  void (*body)(const void* context, int64_t begin, int64_t end);
  const void* context;
  int64_t count, chunk;
  std::atomic<int64_t> next{0};
  std::mutex error_mutex{};
  std::exception_ptr error{};  // the first that a body threw

  void run() {
    const bool outer = std::exchange(inside, true);
    for (int64_t begin = next.fetch_add(chunk); begin < count; begin = next.fetch_add(chunk)) {
      try {
        body(context, begin, std::min(begin + chunk, count));
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
    inside = outer;
  }
};

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { serve(); });
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

  void run(Work& work) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      work_ = &work;
      ++generation_;
      busy_ = static_cast<int>(workers_.size());
    }
    wake_.notify_all();
    work.run();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (uint64_t seen = 0;;) {
      wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      Work* work = work_;
      lock.unlock();
      work->run();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Work* work_ = nullptr;     // valid while busy_ > 0
  uint64_t generation_ = 0;  // counts calls of run()
  int busy_ = 0;             // workers that have not finished *work_
  bool stop_ = false;
};

std::mutex pool_mutex;  // held for the length of a parallel_for
std::atomic<int> wanted_threads{static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};

// The pool, with as many threads as wanted now. Needs pool_mutex.
Pool& pool() {
  static std::unique_ptr<Pool> instance;
  if (!instance || instance->threads() != wanted_threads) instance = std::make_unique<Pool>(wanted_threads);
  return *instance;
}

}  // namespace

namespace raw {

void set_num_threads(int count) {
  if (count < 1)
    throw std::invalid_argument("set_num_threads: count must be at least 1, got " + std::to_string(count));
  wanted_threads = count;
}

}  // namespace raw

namespace cpu {

int num_threads() { return inside ? 1 : wanted_threads.load(); }

void parallel_for_chunks(int64_t count, int64_t grain,
                         void (*body)(const void* context, int64_t begin, int64_t end), const void* context) {
  if (count <= 0) return;
  const int64_t threads = num_threads();
  const int64_t per_thread = (count + threads - 1) / threads;
  Work work{body, context, count, std::max({grain, per_thread, int64_t{1}})};
  const bool alone = work.chunk >= count || inside || !pool_mutex.try_lock();
  if (alone) {
    work.chunk = count;
    work.run();
  } else {
    const std::lock_guard<std::mutex> lock(pool_mutex, std::adopt_lock);
    pool().run(work);
  }
  if (work.error) std::rethrow_exception(work.error);
}

}  // namespace cpu
}  // namespace greenkernels
