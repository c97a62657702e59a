// The part of int8_gemm that brings slices of a and b into shared memory, and reads fragments out of them.
#pragma once

#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kInt8Tile = 128;  // rows and columns of out that a block owns
inline constexpr int kInt8Depth = 64;  // bytes of a row in a slice: two whole sectors
inline constexpr int kInt8Threads = 256;
inline constexpr int kInt8Stages = 3;  // slices in shared memory: two on their way, one in use
inline constexpr int kInt8Chunk = 16;  // bytes of a copy, and of a row of a matrix that ldmatrix reads
inline constexpr int kInt8Chunks = kInt8Depth / kInt8Chunk;

// A slice of an operand: rows of four chunks, chunk c of row r in place c ^ (r / 2 % 4). So the eight chunks
// that ldmatrix reads at once, one column of eight rows, and the eight that a quarter of a warp writes, two
// whole rows, lie in different banks.
struct __align__(16) Int8Slice {
  int8_t bytes[kInt8Tile * kInt8Depth];

  __device__ int8_t* chunk(int row, int column) {
    return bytes + row * kInt8Depth + (column ^ (row / 2 % kInt8Chunks)) * kInt8Chunk;
  }
};

static_assert(2 * kInt8Stages * sizeof(Int8Slice) <= 48 << 10, "what a block gets without asking");

// One operand, [rows, k] row-major.
struct Int8Operand {
  const int8_t* data;
  int64_t rows;
  int k;
};

// The chunks of one thread in every slice of an operand: two, 64 rows apart.
//   kVector: rows allow 16-byte copies, which k and data decide; else bytes are put together one by one.
template <bool kVector>
class Int8Share {
 public:
  __device__ Int8Share(const Int8Operand& operand, int64_t first_row)
      : operand_(operand), first_row_(first_row) {}

  // Starts to bring slice number `slice` of the operand; 0 stands for what lies beyond it.
  __device__ void begin(Int8Slice& to, int slice) const {
    const int from = slice * kInt8Depth + column() * kInt8Chunk;
#pragma unroll kVector ? kPieces : 1
    for (int piece = 0; piece < kPieces; ++piece) {
      const int64_t row = first_row_ + tile_row(piece);
      const int8_t* source = operand_.data + row * operand_.k + from;
      int8_t* target = to.chunk(tile_row(piece), column());
      if constexpr (kVector) {
        copy_async<kInt8Chunk>(target, source, row < operand_.rows && from < operand_.k);
      } else {
        store_bytes(target, source, row < operand_.rows ? operand_.k - from : 0);
      }
    }
  }

 private:
  static constexpr int kPieces = kInt8Tile * kInt8Chunks / kInt8Threads;

  __device__ static int column() { return threadIdx.x % kInt8Chunks; }
  __device__ static int tile_row(int piece) {
    return threadIdx.x / kInt8Chunks + piece * (kInt8Threads / kInt8Chunks);
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

  Int8Operand operand_;
  int64_t first_row_;
};

}  // namespace greenkernels::cuda
