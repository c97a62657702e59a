// parallel_for: pieces of work on stretches, one for each thread, that idle threads take from.
#include "cpu/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <vector>

namespace greenkernels::cpu {

namespace {

thread_local bool in_body = false;  // what a body starts itself runs in place

// Pieces [begin, end) that nobody has taken yet, in one word. On a line of its own: only takers touch it.
class alignas(64) Stretch {
 public:
  void set(int64_t begin, int64_t end) { word_.store(begin << 32 | end, std::memory_order_relaxed); }

  // The first piece, or the last one, or -1 where all are taken.
  int64_t take(bool first) {
    int64_t word = word_.load(std::memory_order_relaxed);
    for (;;) {
      const int64_t begin = word >> 32, end = word & 0xffffffff;
      if (begin == end) return -1;
      const int64_t left = first ? (begin + 1) << 32 | end : begin << 32 | (end - 1);
      if (word_.compare_exchange_weak(word, left, std::memory_order_relaxed)) return first ? begin : end - 1;
    }
  }

 private:
  std::atomic<int64_t> word_{0};
};

class Work {
 public:
  Work(int64_t count, int64_t piece, int threads, void (*body)(const void*, int64_t, int64_t),
       const void* context)
      : count_(count), piece_(piece), body_(body), context_(context), stretches_(size_t(threads)) {
    const int64_t pieces = (count + piece - 1) / piece;
    for (int t = 0; t < threads; ++t)
      stretches_[size_t(t)].set(pieces * t / threads, pieces * (t + 1) / threads);
  }

  // What thread `own` does: its stretch from the front, then those of others from the back.
  void run(int own) {
    const bool outer = in_body;
    in_body = true;
    const int threads = int(stretches_.size());
    for (int i = 0; i < threads; ++i) {
      Stretch& stretch = stretches_[size_t((own + i) % threads)];
      for (int64_t p = stretch.take(i == 0); p >= 0; p = stretch.take(i == 0)) run_piece(p);
    }
    in_body = outer;
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void run_piece(int64_t p) {
    try {
      body_(context_, p * piece_, std::min(count_, (p + 1) * piece_));
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  const int64_t count_, piece_;
  void (*const body_)(const void* context, int64_t begin, int64_t end);
  const void* const context_;
  std::vector<Stretch> stretches_;
  std::mutex error_mutex_;
  std::exception_ptr error_;  // the first that a body threw
};

}  // namespace

int num_threads() { return in_body ? 1 : thread_limit(); }

int64_t balanced_piece(int64_t count, int64_t grain) {
  const int64_t pieces = kPiecesAThread * num_threads();
  return std::max({grain, (count + pieces - 1) / pieces, int64_t{1}});
}

void run_pieces(int64_t count, int64_t piece, void (*body)(const void* context, int64_t begin, int64_t end),
                const void* context) {
  if (count <= 0) return;
  constexpr int64_t kMaxPieces = int64_t{1} << 30;  // a stretch holds them in half of a signed word
  piece = std::max({piece, (count + kMaxPieces - 1) / kMaxPieces, int64_t{1}});
  const int threads = int(std::min<int64_t>(num_threads(), (count + piece - 1) / piece));
  if (threads == 1) return body(context, 0, count);
  Work work(count, piece, threads, body, context);
  run_on_threads(
      threads, [](const void* of, int i) { const_cast<Work*>(static_cast<const Work*>(of))->run(i); }, &work);
  work.rethrow();
}

}  // namespace greenkernels::cpu
