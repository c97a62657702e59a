// The part of sgemm that brings slices of a and b into shared memory: [depth][row], whichever way they lie.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kSgemmDepth = 8;  // of a slice: one 32-byte sector of each row
inline constexpr int kSgemmThreads = 128;
// Spare columns of the slices in shared memory. When rows of eight are turned into columns, a warp stores 16
// rows at two depths, four apart: 4 * (128 + 4) words are 16 banks, so that the two do not meet.
inline constexpr int kSgemmSpare = 4;

// Words from a depth of a slice to the next.
template <int kRows>
inline constexpr int kSgemmPitch = kRows + kSgemmSpare;

// Words of a slice.
template <int kRows>
inline constexpr int kSgemmSliceWords = kSgemmDepth * kSgemmPitch<kRows>;

// One operand: element (row, d) at data[row * row_stride + d * depth_stride], one of the strides being 1.
struct SgemmOperand {
  const float* data;
  int64_t row_stride, depth_stride;
  int64_t rows;  // >= 1
};

// The share of one thread in every slice of kRows rows of an operand.
//   kDepthFirst: depth_stride is 1, else row_stride is.
//   kVector: 4 if the stride that is not 1, the extent along the one that is, and data allow 16-byte loads;
//   else 1, and a warp then loads 32 neighbours, or four rows of eight.
// Rows of slices stand as columns in shared memory. What needs no turning for that, and single elements, are
// copied there without a detour through registers.
template <int kRows, bool kDepthFirst, int kVector>
class SgemmShare {
 public:
  __device__ SgemmShare(const SgemmOperand& operand, int64_t first_row) {
    source_ = operand.data + (first_row + row()) * operand.row_stride + depth() * operand.depth_stride;
    step_ = kApart * (kDepthFirst ? operand.row_stride : operand.depth_stride);
    const int64_t rows = operand.rows - first_row;
    rows_ = int(rows < kRows ? rows : kRows) - row();
  }

  // Whether every row of the tile is within the operand.
  __device__ bool whole() const { return rows_ + row() == kRows; }

  // Starts to bring in the share of the next slice, of which `left` depths are within the operand; 0 for the
  // rest. Without kBounded all of it is: fewer instructions.
  template <bool kBounded>
  __device__ void begin(float* slice, int left) {
    const unsigned target = shared_address(slice) + sizeof(float) * place();
    const float* from = source_;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const int further_rows = kDepthFirst ? piece * kApart : 0;
      const int further_depths = kDepthFirst ? 0 : piece * kApart;
      const bool inside = !kBounded || (further_rows < rows_ && depth() + further_depths < left);
      if constexpr (kTurns) {
        turning_[piece] = inside ? load4(from) : make_float4(0, 0, 0, 0);
      } else {
        const unsigned further = further_depths * kSgemmPitch<kRows> + further_rows;
        copy_async<4 * kVector>(target + sizeof(float) * further, from, inside);
      }
      if (!kDepthFirst || piece + 1 < kPieces) from += step_;
    }
    source_ = kDepthFirst ? source_ + kSgemmDepth : from;
  }

  // Puts what begin() left in registers into the same slice. Copies have to be waited for all the same.
  __device__ void finish(float* slice) const {
    if constexpr (kTurns) {
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
        const float4 from = turning_[piece];
        const float values[] = {from.x, from.y, from.z, from.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) slice[place() + i * kSgemmPitch<kRows> + piece * kApart] = values[i];
      }
    }
  }

 private:
  static constexpr bool kTurns = kDepthFirst && kVector == 4;
  static constexpr int kPieces = kRows * kSgemmDepth / kSgemmThreads / kVector;
  static constexpr int kAcross = (kDepthFirst ? kSgemmDepth : kRows) / kVector;  // threads along stride 1
  static constexpr int kApart = kSgemmThreads / kAcross;  // rows or depths between pieces of a thread
  static_assert(kPieces >= 1 && kApart >= 1);

  // Of the first piece.
  __device__ static int row() {
    const int thread = threadIdx.x;
    return kDepthFirst ? thread / kAcross : thread % kAcross * kVector;
  }
  __device__ static int depth() {
    const int thread = threadIdx.x;
    return kDepthFirst ? thread % kAcross * kVector : thread / kAcross;
  }
  __device__ static int place() { return depth() * kSgemmPitch<kRows> + row(); }

  const float* source_;                   // of the next slice
  int64_t step_;                          // elements from piece to piece
  int rows_;                              // within the operand, from the first piece's on
  float4 turning_[kTurns ? kPieces : 1];  // kTurns: from begin() to finish()
};

}  // namespace greenkernels::cuda
