// Products whose depth is cut where there are too few tiles of out: parts of it are multiplied into scratch
// memory, [parts][m][n], and added up in order by a kernel that does what is left to do.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kSumThreads = 256;  // of a block that adds up
inline constexpr int kMostDepthParts = 16;

// Calls take(parts, depth) for each number of parts, of `depth` each but for the last: all of k, then whole
// slices of at least `least`, none of them empty.
template <typename Take>
void for_each_split(int64_t k, int64_t slice, int64_t least, int64_t most, const Take& take) {
  take(int64_t{1}, k);
  for (int64_t parts = 2; parts <= most; ++parts) {
    const int64_t depth = blocks_for(k, parts * slice) * slice;
    if (depth >= least && (parts - 1) * depth < k) take(parts, depth);
  }
}

// Clocks that adding up takes, of elements of four bytes: its launch, and what each multiprocessor of an H100
// reads and writes in one (measured in float32).
inline int64_t sum_clocks(int64_t parts, int64_t elements, int multiprocessors) {
  constexpr int64_t kLaunchClocks = 1000, kBytesPerClock = 10;
  return parts == 1 ? 0 : kLaunchClocks + 4 * (parts + 1) * elements / (kBytesPerClock * multiprocessors);
}

// The first of the kVector neighbours of [m, n] that a thread adds up; a row past the last where there are
// none.
template <int kVector>
struct SumPlace {
  int64_t row, col;

  __device__ static SumPlace of_thread(int64_t n) {
    const unsigned across = unsigned(n) / kVector, number = block_x() * kSumThreads + threadIdx.x;
    return {number / across, int64_t{number % across} * kVector};
  }
};

// The sums of kVector neighbours, 4 or 1, over parts that lie `apart` elements from each other.
template <int kVector, typename T>
__device__ inline void add_parts(T (&sums)[kVector], const T* from, int parts, int64_t apart) {
#pragma unroll 4
  for (int part = 0; part < parts; ++part, from += apart) {
    T one[kVector];
    load_neighbours(one, from);
#pragma unroll
    for (int j = 0; j < kVector; ++j) sums[j] += one[j];
  }
}

inline dim3 sum_grid(int64_t m, int64_t n, int vector) {
  return dim3(unsigned(blocks_for(m * n / vector, kSumThreads)));
}

}  // namespace greenkernels::cuda
