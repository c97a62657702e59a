// The part of sgemm that keeps slices of both operands on their way through shared memory, and multiplies
// them.
#pragma once

#include "cuda/sgemm_sums.cuh"
#include "cuda/sgemm_tile.cuh"

namespace greenkernels::cuda {

inline constexpr int kSgemmStages = 4;  // buffers of a slice

// Where the tile of a block lies. Block (x, z) owns the tile x of item z, tiles numbered down the columns of
// tiles: neighbours share one of b.
struct SgemmPlace {
  int64_t item, row0, col0;

  __device__ static SgemmPlace of_block(int tiles_down, int side) {
    const int tile = block_x();
    return {block_z(), int64_t{tile % tiles_down} * side, int64_t{tile / tiles_down} * side};
  }
};

// The slices of a tile on their way through shared memory: of a, then of b, in one buffer after the other.
// AShare and BShare are those of a thread, such as SgemmShare.
template <int kSide, typename AShare, typename BShare>
class SgemmSlices {
 public:
  __device__ SgemmSlices(const AShare& a, const BShare& b, int k, float* shared)
      : a_(a), b_(b), shared_(shared), left_(k), whole_(a_.whole() && b_.whole()) {}

  // Asks for the slice after those asked for, whose buffer has to be free until finish(); behind the last
  // one for one of zeros.
  __device__ void begin() {
    if (left_ > -kSgemmDepth) {
      if (whole_ && left_ >= kSgemmDepth) {
        begin_as<false>();
      } else {
        begin_as<true>();
      }
    }
    close_group();
  }
  __device__ void finish() {
    if (left_ > -kSgemmDepth) {
      a_.finish(buffer(filled_));
      b_.finish(buffer(filled_) + kSgemmSliceWords<kSide>);
    }
    left_ -= kSgemmDepth;
    filled_ = after(filled_);
  }

  // Goes on to the next slice, which is there when this returns; the last one's buffer is free then.
  __device__ void next() {
    wait_for_groups<kSgemmStages - 2>();
    __syncthreads();
    at_ = after(at_);
  }
  __device__ const float* a() const { return buffer(at_); }
  __device__ const float* b() const { return buffer(at_) + kSgemmSliceWords<kSide>; }

 private:
  template <bool kBounded>
  __device__ void begin_as() {
    a_.template begin<kBounded>(buffer(filled_), left_);
    b_.template begin<kBounded>(buffer(filled_) + kSgemmSliceWords<kSide>, left_);
  }
  __device__ float* buffer(int stage) const { return shared_ + stage * 2 * kSgemmSliceWords<kSide>; }
  __device__ static int after(int stage) { return stage + 1 == kSgemmStages ? 0 : stage + 1; }

  AShare a_;
  BShare b_;
  float* shared_;
  int left_;  // depths not asked for
  bool whole_;
  int at_ = kSgemmStages - 1, filled_ = 0;
};

// Adds the products of all slices to the sums of this thread.
template <int kLaneRows, typename Slices>
__device__ inline void multiply_slices(SgemmSums<kLaneRows>& sums, Slices& slices, int k) {
  constexpr int kSide = kSgemmTile<kLaneRows>, kParts = SgemmSums<kLaneRows>::kParts;
#pragma unroll 1
  for (int stage = 0; stage < kSgemmStages - 1; ++stage) {
    slices.begin();
    slices.finish();
  }
  slices.next();
  const float *a = slices.a(), *b = slices.b();
#pragma unroll
  for (int part = 0; part < kParts; ++part) sums.load(0, part, a, b);
#pragma unroll 1
  for (int left = k; left > 0; left -= kSgemmDepth) {
#pragma unroll
    for (int d = 0; d < kSgemmDepth; ++d) {
      if (d + 1 < kSgemmDepth) {
        a += kSgemmPitch<kSide>, b += kSgemmPitch<kSide>;
      } else {  // behind the last slice: zeros, of which nothing is made
        slices.finish();
        slices.next();
        a = slices.a(), b = slices.b();
      }
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        sums.load(d + 1, part, a, b);
        sums.multiply(d, part);
      }
      if (d == 0) slices.begin();
    }
  }
}

}  // namespace greenkernels::cuda
