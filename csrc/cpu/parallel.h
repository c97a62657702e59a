// Threads, without a threading library: declared here, defined by whoever links the kernels (csrc/ops on
// torch's pool, csrc/raw and tests/cpp on std::thread).
#pragma once

#include <cstdint>

#include "cpu/denormals.h"

namespace greenkernels::cpu {

// Threads that parallel_for may use right now. At least 1.
int num_threads();

// Runs body(context, begin, end) on disjoint chunks that together cover [0, count), at most num_threads() at
// a time, each chunk but the last at least `grain` long. An exception thrown by a body is rethrown here after
// all chunks ended.
void parallel_for_chunks(int64_t count, int64_t grain,
                         void (*body)(const void* context, int64_t begin, int64_t end), const void* context);

// The same with a callable body(begin, end), which runs with denormals flushed to zero.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  parallel_for_chunks(
      count, grain,
      [](const void* context, int64_t begin, int64_t end) {
        const FlushDenormals guard;
        (*static_cast<const Body*>(context))(begin, end);
      },
      &body);
}

}  // namespace greenkernels::cpu
