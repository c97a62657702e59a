// The part of int8_gemm that brings slices of a and b into shared memory, where ldmatrix reads them.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kInt8Depth = 64;  // bytes of a row in a slice: two whole sectors
inline constexpr int kInt8Stages = 3;  // slices in shared memory: two on their way, one in use
inline constexpr int kInt8Chunk = 16;  // bytes of a copy, and of a row of a matrix that ldmatrix reads
inline constexpr int kInt8Chunks = kInt8Depth / kInt8Chunk;

// A slice of an operand, kRows of it: rows of four chunks, chunk c of row r in place c ^ (r / 2 % 4). So the
// eight chunks that ldmatrix reads at once, one column of eight rows, and the eight that a quarter of a warp
// writes, two whole rows, lie in different banks.
template <int kRows>
struct __align__(16) Int8Slice {
  int8_t bytes[kRows * kInt8Depth];
};

// Where a chunk begins, in bytes.
__device__ inline unsigned int8_place(int row, int column) {
  return row * kInt8Depth + (column ^ (row / 2 % kInt8Chunks)) * kInt8Chunk;
}

// One operand, or a part of its depth: row-major.
struct Int8Operand {
  const int8_t* data;  // [rows, depth]
  int64_t rows;        // >= 1
  int stride;          // of a row
  int depth;
};

// The chunks of one of kThreads in every slice of kRows of an operand: all of one column. Rows past the
// last are read as the last once more: what comes of them is not written.
//   kVector: rows allow 16-byte copies, which strides and data decide; else bytes are put together one by
//   one.
template <int kRows, int kThreads, bool kVector>
class Int8Share {
 public:
  __device__ Int8Share(const Int8Operand& operand, int64_t first_row)
      : first_(operand.data + first_row * operand.stride), depth_(operand.depth) {
    const int last = int(min(operand.rows - first_row, int64_t{kRows})) - 1;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      offsets_[piece] = unsigned(min(tile_row(piece), last)) * operand.stride + column() * kInt8Chunk;
    }
  }

  // Starts to bring slice number `slice` of the operand to the address `to`; 0 stands for what lies beyond
  // it.
  __device__ void begin(Int8Slice<kRows>* to, int slice) const {
    const int8_t* source = first_ + slice * kInt8Depth;  // the same in all threads
    const int left = depth_ - slice * kInt8Depth - column() * kInt8Chunk;
    if constexpr (kVector) {
      const unsigned target = shared_address(to) + int8_place(tile_row(0), column());
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
        copy_async<kInt8Chunk>(target + piece * kPieceRows * kInt8Depth, source + offsets_[piece], left > 0);
      }
    } else {
#pragma unroll 1
      for (int piece = 0; piece < kPieces; ++piece) {
        const unsigned at = int8_place(tile_row(piece), column());
        store_bytes(to->bytes + at, source + offset_of(piece), left);
      }
    }
  }

 private:
  static constexpr int kPieces = kRows * kInt8Chunks / kThreads;
  static constexpr int kPieceRows = kThreads / kInt8Chunks;
  static_assert(kPieceRows % (2 * kInt8Chunks) == 0, "pieces of a thread lie equally far apart");

  __device__ static int column() { return threadIdx.x % kInt8Chunks; }
  __device__ static int tile_row(int piece) { return threadIdx.x / kInt8Chunks + piece * kPieceRows; }

  // offsets_[piece] without an index that would keep them out of registers.
  __device__ unsigned offset_of(int piece) const {
    unsigned found = offsets_[0];
#pragma unroll
    for (int other = 1; other < kPieces; ++other) found = piece == other ? offsets_[other] : found;
    return found;
  }

  // A chunk of which `left` bytes are there.
  __device__ static void store_bytes(int8_t* target, const int8_t* source, int left) {
    uint32_t words[kInt8Chunk / 4] = {};
#pragma unroll
    for (int byte = 0; byte < kInt8Chunk; ++byte) {
      if (byte < left) words[byte / 4] |= uint32_t{uint8_t(source[byte])} << (8 * (byte % 4));
    }
    *reinterpret_cast<uint4*>(target) = make_uint4(words[0], words[1], words[2], words[3]);
  }

  const int8_t* first_;  // of the tile
  unsigned offsets_[kPieces];
  int depth_;
};

}  // namespace greenkernels::cuda
