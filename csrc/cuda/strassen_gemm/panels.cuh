// The part of strassen_gemm that brings slices of packed operands into shared memory.
#pragma once

#include "cuda/sgemm_tile.cuh"
#include "cuda/strassen_gemm/scheme.cuh"

namespace greenkernels::cuda {

static_assert(kSgemmSlice % kSgemmDepth == 0, "what is multiplied at once lies in one slice of a panel");

// The share of one thread in every slice of kRows rows of a packed operand, as SgemmShare has it of one in
// plain order: 16 bytes along a panel, copied without a detour, since panels are in the order of slices.
template <int kRows>
class StrassenPanels {
 public:
  // packed: [rows, depth] of one product.
  __device__ StrassenPanels(const float* packed, int64_t rows, int depth, int64_t first_row)
      : packed_(packed), rows_(int(rows)), depth_(depth), row_(int(first_row) + row()) {
    find(0);
  }

  // Whether every row of the tile has its place in a panel.
  __device__ bool whole() const { return row_ - row() + kRows <= sgemm_padded_columns(rows_); }

  // As of SgemmShare: `left` depths are within the operand; 0 for the rest.
  template <bool kBounded>
  __device__ void begin(float* slice, int left) {
    const unsigned target = shared_address(slice) + sizeof(float) * (depth() * kSgemmPitch<kRows> + row());
    const bool row_inside = !kBounded || row_ < sgemm_padded_columns(rows_);
#pragma unroll
    for (int further = 0; further < kSgemmDepth; further += kApart) {
      const bool inside = !kBounded || (row_inside && depth() + further < left);
      const unsigned words = further * kSgemmPitch<kRows>;
      copy_async<16>(target + sizeof(float) * words, source_ + further * width_, inside);
    }
    source_ += kSgemmDepth * width_;
    at_ += kSgemmDepth;
    if (at_ % kSgemmSlice == 0) find(at_);
  }
  __device__ void finish(float*) const {}

 private:
  static constexpr int kAcross = kRows / 4;               // threads along a depth
  static constexpr int kApart = kSgemmThreads / kAcross;  // depths between the copies of a thread
  static_assert(kSgemmDepth % kApart == 0);

  __device__ static int row() { return threadIdx.x % kAcross * 4; }
  __device__ static int depth() { return threadIdx.x / kAcross; }

  // Goes to a depth that is the first of a slice of the panel.
  __device__ void find(int d) {
    const PanelPlace place = PanelPlace::of(rows_, depth_, row_, d + depth());
    source_ = packed_ + place.index;
    width_ = place.width;
    at_ = d;
  }

  const float* packed_;
  int rows_, depth_, row_;  // the last: of the first element of this thread
  const float* source_;     // of the next slice
  int width_, at_;
};

}  // namespace greenkernels::cuda
