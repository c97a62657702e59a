// The part of sgemm that brings slices of a and b into shared memory: [depth][row], whichever way they lie.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kSgemmDepth = 8;  // of a slice: one 32-byte sector of each row
inline constexpr int kSgemmThreads = 256;
// Spare columns of the tiles in shared memory. When rows of eight are turned into columns, a warp stores 16
// rows at two depths, four apart: 4 * (128 + 4) words are 16 banks, so that the two do not meet.
inline constexpr int kSgemmSpare = 4;

template <int kRows>
using SgemmSlice = float[kSgemmDepth][kRows + kSgemmSpare];

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
// copied there without a detour through registers, of which the sums leave none to spare.
template <int kRows, bool kDepthFirst, int kVector>
class SgemmShare {
 public:
  __device__ SgemmShare(const SgemmOperand& operand, int64_t first_row) : operand_(operand) {
    source_ = operand.data + (first_row + row(0)) * operand.row_stride + depth(0) * operand.depth_stride;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      if (first_row + row(piece) < operand.rows) valid_ |= 1u << piece;
    }
  }

  // Starts to bring in the share of the next slice, of which `left` depths are within the operand; 0 for the
  // rest.
  __device__ void begin(SgemmSlice<kRows>& slice, int left) {
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const bool inside = (valid_ >> piece & 1) && depth(piece) < left;
      if constexpr (kTurns) {
        turning_[piece] = inside ? load4(source_) : make_float4(0, 0, 0, 0);
      } else {
        copy_async<4 * kVector>(&slice[depth(piece)][row(piece)], source_, inside);
      }
      source_ += kPieceRows * operand_.row_stride + kPieceDepths * operand_.depth_stride;
    }
    // Pieces along the depth have gone through the slice; pieces along the rows go back to their first one.
    if constexpr (kDepthFirst) source_ += kSgemmDepth - kRows * operand_.row_stride;
  }

  // Puts what begin() left in registers into the same slice. Copies have to be waited for all the same.
  __device__ void finish(SgemmSlice<kRows>& slice) const {
    if constexpr (kTurns) {
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
        const float4 from = turning_[piece];
        const float values[] = {from.x, from.y, from.z, from.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) slice[depth(piece) + i][row(piece)] = values[i];
      }
    }
  }

 private:
  static constexpr bool kTurns = kDepthFirst && kVector == 4;
  static constexpr int kPieces = kRows * kSgemmDepth / kSgemmThreads / kVector;
  static constexpr int kAcross = (kDepthFirst ? kSgemmDepth : kRows) / kVector;  // threads along stride 1
  // How far apart the pieces of a thread lie.
  static constexpr int kPieceRows = kDepthFirst ? kSgemmThreads / kAcross : 0;
  static constexpr int kPieceDepths = kDepthFirst ? 0 : kSgemmThreads / kAcross;

  __device__ static int row(int piece) {
    const int thread = threadIdx.x;
    return kDepthFirst ? thread / kAcross + piece * kPieceRows : thread % kAcross * kVector;
  }
  __device__ static int depth(int piece) {
    const int thread = threadIdx.x;
    return kDepthFirst ? thread % kAcross * kVector : thread / kAcross + piece * kPieceDepths;
  }

  SgemmOperand operand_;
  const float* source_;
  unsigned valid_ = 0;                    // a bit for each piece whose row is within the operand
  float4 turning_[kTurns ? kPieces : 1];  // kTurns: from begin() to finish()
};

}  // namespace greenkernels::cuda
