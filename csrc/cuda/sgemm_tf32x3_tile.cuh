// The part of sgemm_tf32x3 that brings slices of a and b into shared memory, and fragments of them into
// registers.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kTf32Depth = 16;  // of a slice: two steps of tensor cores, two whole sectors
inline constexpr int kTf32Step = 8;    // depths that mma.m16n8k8 multiplies at once
inline constexpr int kTf32Steps = kTf32Depth / kTf32Step;
inline constexpr int kTf32Chunk = 4;  // floats in 16 bytes

// A slice of an operand, kRows of it, in shared memory.
//   kDepthFirst: rows of four chunks, chunk c of row r in place c ^ (r / 2 % 4). So the eight chunks that
//   ldmatrix reads at once, one column of eight rows, and the eight that a quarter of a warp writes, two
//   whole rows, lie in different banks. Else [depth][row], with as many spare rows as put the four depths
//   that a warp reads at once, eight rows of each, in different banks.
template <int kRows, bool kDepthFirst>
struct __align__(16) Tf32Slice {
  static constexpr int kStride = kDepthFirst ? kTf32Depth : kRows + 8;
  float elements[kDepthFirst ? kRows * kStride : kTf32Depth * kStride];

  // Where an element is, in bytes.
  __device__ static unsigned place(int row, int depth) {
    if constexpr (!kDepthFirst) return sizeof(float) * (depth * kStride + row);
    const int chunk = depth / kTf32Chunk ^ (row / 2 % (kTf32Depth / kTf32Chunk));
    return sizeof(float) * (row * kStride + chunk * kTf32Chunk + depth % kTf32Chunk);
  }

  // Sixteen rows of a step, of the slice at that address, as the fragment of a: lane 4 g + q gets rows g and
  // g + 8 at depth q, then both at q + 4.
  __device__ static void load_rows(uint32_t (&to)[4], unsigned slice, int first, int step) {
    const int lane = threadIdx.x % kWarp;
    if constexpr (kDepthFirst) {
      load_matrices(to, slice + place(first + lane % 16, step * kTf32Step + lane / 16 * kTf32Chunk));
    } else {
      const unsigned from = slice + place(first + lane / 4, step * kTf32Step + lane % 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) to[i] = load_shared(from + place(i % 2 * 8, i / 2 * 4));
    }
  }

  // Eight rows of both steps as fragments of b: lane 4 g + q gets row g at depths q, q + 4, q + 8, q + 12.
  __device__ static void load_columns(uint32_t (&to)[4], unsigned slice, int first) {
    const int lane = threadIdx.x % kWarp;
    if constexpr (kDepthFirst) {
      load_matrices(to, slice + place(first + lane % 8, lane / 8 * kTf32Chunk));
    } else {
      const unsigned from = slice + place(first + lane / 4, lane % 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) to[i] = load_shared(from + place(0, 4 * i));
    }
  }
};

// One operand: element (row, d) at data[row * row_stride + d * depth_stride], one of the strides being 1.
struct Tf32Operand {
  const float* data;
  int64_t row_stride, depth_stride;
  int64_t rows;  // >= 1
};

// The share of one of kThreads in every slice of kRows of an operand.
//   kVector: 4 if the stride that is not 1, the extent along the one that is, and data allow 16-byte copies;
//   else 1.
template <int kRows, int kThreads, bool kDepthFirst, int kVector>
class Tf32Share {
 public:
  using Slice = Tf32Slice<kRows, kDepthFirst>;

  __device__ Tf32Share(const Tf32Operand& operand, int64_t first_row)
      : source_(operand.data + (first_row + row(0)) * operand.row_stride + depth(0) * operand.depth_stride),
        room_(int(min(operand.rows - first_row, int64_t{kRows})) - row(0)),
        piece_step_(kPieceRows * operand.row_stride + kPieceDepths * operand.depth_stride),
        slice_step_(kTf32Depth * operand.depth_stride) {}

  // Starts to bring the next slice to the address `to`, of which `left` depths, if that is above 0, are
  // within the operand; 0 stands for the rest, and for rows beyond it.
  __device__ void begin(unsigned to, int left) {
    const float* source = source_;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const bool inside = piece * kPieceRows < room_ && depth(piece) < left;
      copy_async<4 * kVector>(to + Slice::place(row(piece), depth(piece)), source, inside);
      source += piece_step_;
    }
    source_ += slice_step_;
  }

 private:
  static constexpr int kAcross = (kDepthFirst ? kTf32Depth : kRows) / kVector;  // threads along stride 1
  static constexpr int kPieces = kRows * kTf32Depth / kVector / kThreads;
  // How far apart the pieces of a thread lie.
  static constexpr int kPieceRows = kDepthFirst ? kThreads / kAcross : 0;
  static constexpr int kPieceDepths = kDepthFirst ? 0 : kThreads / kAcross;

  __device__ static int row(int piece) {
    const int thread = threadIdx.x;
    return kDepthFirst ? thread / kAcross + piece * kPieceRows : thread % kAcross * kVector;
  }
  __device__ static int depth(int piece) {
    const int thread = threadIdx.x;
    return kDepthFirst ? thread % kAcross * kVector : thread / kAcross + piece * kPieceDepths;
  }

  const float* source_;  // of the next slice
  int room_;             // rows from the first of this thread on that are within the operand
  int64_t piece_step_, slice_step_;
};

}  // namespace greenkernels::cuda
