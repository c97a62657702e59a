// The panels format, for products with more than a few rows of x: the weight in tiles of rows and, within a
// tile, in blocks of columns whose part of x stays in the L1 cache.
//
//   [header][first_entry, first_value][entries][offsets][values], each section 64-byte aligned
//
// A block (tile, block of columns) lists the rows that have nonzeros in it as entries, in the order of their
// number of nonzeros: the inner loop then ends after as many rounds as for the row before, which the CPU
// predicts. The nonzeros follow in the order of the entries.
#pragma once

#include <algorithm>
#include <cstdint>

#include "api/csr_matmul.h"

namespace greenkernels::cpu {

inline constexpr int64_t kCsrLanes = 16;       // values of a line of x: a cache line of floats
inline constexpr int64_t kCsrOffsetStep = 64;  // an offset is 64 * column, the bytes of a line
inline constexpr int64_t kCsrMaxBlock = 65536 / kCsrOffsetStep;  // columns of a block: offsets have 16 bits
inline constexpr int64_t kCsrMaxTile = 65536;                    // rows of a tile: their numbers have 16 bits

struct CsrEntry {
  uint16_t row;    // within the tile
  uint16_t count;  // of nonzeros, >= 1
};

// What every packed weight begins with: for whom it was made, so that no other is multiplied with it.
struct CsrHeader {
  int64_t magic, n, k, nnz, k_block, row_tile, element_bytes, reserved;

  static CsrHeader of(const CsrShape& shape, const CsrLayout& layout, int64_t element_bytes) {
    return {kMagic, shape.n, shape.k, shape.nnz, layout.k_block, layout.row_tile, element_bytes, 0};
  }
  static constexpr int64_t kMagic = 0x31525343'4b47;  // "GKCSR1", little-endian
};
static_assert(sizeof(CsrHeader) == 64);

constexpr int64_t csr_aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Where the sections of a packed weight begin. T is the type of the values.
template <typename T>
struct CsrPanels {
  int64_t tiles, blocks;
  int64_t* first_entry;  // [tiles * blocks + 1] index into entries
  int64_t* first_value;  // [tiles * blocks + 1] index into offsets and values
  CsrEntry* entries;     // [min(nnz, n * blocks)], of which the first first_entry[tiles * blocks] are used
  uint16_t* offsets;     // [nnz] 64 * column within the block
  T* values;             // [nnz]
  int64_t bytes;         // of all sections

  CsrPanels(const CsrShape& shape, const CsrLayout& layout, void* packed, int64_t element_bytes = sizeof(T)) {
    tiles = (shape.n + layout.row_tile - 1) / layout.row_tile;
    blocks = (shape.k + layout.k_block - 1) / layout.k_block;
    char* const begin = static_cast<char*>(packed);
    char* at = begin + sizeof(CsrHeader);
    const auto section = [&](int64_t section_bytes) {
      char* const start = at;
      at += csr_aligned(section_bytes);
      return static_cast<void*>(start);
    };
    first_entry = static_cast<int64_t*>(section((tiles * blocks + 1) * 8));
    first_value = static_cast<int64_t*>(section((tiles * blocks + 1) * 8));
    entries = static_cast<CsrEntry*>(section(std::min(shape.nnz, shape.n * blocks) * 4));
    offsets = static_cast<uint16_t*>(section(shape.nnz * 2));
    values = static_cast<T*>(section(shape.nnz * element_bytes));
    bytes = at - begin;
  }
};

}  // namespace greenkernels::cpu
