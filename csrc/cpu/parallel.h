// Threads, without a threading library: thread_limit and run_on_threads are declared here and defined by
// whoever links the kernels (csrc/ops on torch's pool, csrc/raw on std::thread).
#pragma once

#include <cstdint>

#include "cpu/denormals.h"

namespace greenkernels::cpu {

// Threads that run_on_threads has to offer. At least 1.
int thread_limit();

// Runs task(context, i) once for every i in [0, threads), side by side as far as threads are free, else one
// after the other. A task does not throw.
void run_on_threads(int threads, void (*task)(const void* context, int i), const void* context);

// Threads that parallel_for may use right now: 1 inside of a body. At least 1.
int num_threads();

// Runs body(context, begin, end) on pieces of [0, count), each `piece` long but for the last, on at most
// num_threads() threads; in one piece where that is 1. Each thread starts on a stretch of its own and goes
// through it from the front; one that is done takes pieces from the ends of others' stretches. So cores of
// different speed and threads that come late end at about the same time, while a thread gets mostly the same
// data in every call. An exception thrown by a body is rethrown here after all others ended.
void run_pieces(int64_t count, int64_t piece, void (*body)(const void* context, int64_t begin, int64_t end),
                const void* context);

// Pieces of each thread, where they can be so short: the slowest thread keeps the others waiting for one
// piece, which is an eighth of its work at most.
inline constexpr int64_t kPiecesAThread = 8;

// The length of pieces of at least `grain` of `count`, short enough for threads to balance.
int64_t balanced_piece(int64_t count, int64_t grain);

// The same with a callable body(begin, end), which runs with denormals flushed to zero.
template <typename Body>
void parallel_for_pieces(int64_t count, int64_t piece, const Body& body) {
  run_pieces(
      count, piece,
      [](const void* context, int64_t begin, int64_t end) {
        const FlushDenormals guard;
        (*static_cast<const Body*>(context))(begin, end);
      },
      &body);
}

// The same where only the least length of a piece is known: what is worth a thread.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  parallel_for_pieces(count, balanced_piece(count, grain), body);
}

}  // namespace greenkernels::cpu
