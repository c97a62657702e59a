// Packing of a CSR weight into the formats, and its transpose: the same on all instruction sets.
#include <algorithm>
#include <cstring>
#include <vector>

#include "api/csr_matmul.h"
#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/csr_matmul/formats/rows.h"
#include "cpu/parallel.h"

namespace greenkernels::cpu {

namespace {

template <typename T>
void pack_rows(const CsrPackArgs<T>& args) {
  const CsrWeight<T>& w = args.weight;
  const CsrRows<T> rows(w.shape, args.packed);
  std::copy_n(w.crow_indices, w.shape.n + 1, rows.crow_indices);
  parallel_for(w.shape.nnz, 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      rows.columns[p] = static_cast<uint16_t>(w.col_indices[p]);
      rows.values[p] = w.values[p];
    }
  });
}

// The nonzeros of a tile, block of columns by block of columns.
template <typename T>
class TileWalk {
 public:
  TileWalk(const CsrPackArgs<T>& args, int64_t tile)
      : weight_(args.weight),
        k_block_(args.layout.k_block),
        first_row_(tile * args.layout.row_tile),
        rows_(std::min(args.layout.row_tile, args.weight.shape.n - first_row_)),
        next_(rows_),
        count_(rows_) {
    for (int64_t r = 0; r < rows_; ++r) next_[r] = weight_.crow_indices[first_row_ + r];
  }

  // Counts the nonzeros of each row in this block; blocks come in ascending order, each once.
  void enter(int64_t block) {
    const int64_t end_col = (block + 1) * k_block_;
    entries_ = values_ = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      next_[r] += count_[r];
      const int64_t row_end = weight_.crow_indices[first_row_ + r + 1];
      int64_t p = next_[r];
      while (p < row_end && weight_.col_indices[p] < end_col) ++p;
      count_[r] = p - next_[r];
      entries_ += count_[r] > 0;
      values_ += count_[r];
    }
  }

  int64_t entries() const { return entries_; }
  int64_t values() const { return values_; }

  // Writes the block entered last: rows in the order of their counts, equal ones in their own order.
  void write(int64_t block, CsrEntry* entries, uint16_t* offsets, T* values) {
    start_.assign(k_block_ + 2, 0);
    for (const int64_t count : count_) ++start_[count + 1];
    start_[1] = 0;  // rows without nonzeros have no entry
    for (int64_t count = 1; count <= k_block_; ++count) start_[count + 1] += start_[count];
    for (int64_t r = 0; r < rows_; ++r) {
      if (count_[r] == 0) continue;
      entries[start_[count_[r]]++] = {static_cast<uint16_t>(r), static_cast<uint16_t>(count_[r])};
    }
    for (int64_t e = 0; e < entries_; ++e) {
      for (int64_t p = next_[entries[e].row]; p < next_[entries[e].row] + entries[e].count; ++p) {
        *offsets++ = static_cast<uint16_t>((weight_.col_indices[p] - block * k_block_) * kCsrOffsetStep);
        *values++ = weight_.values[p];
      }
    }
  }

 private:
  const CsrWeight<T>& weight_;
  int64_t k_block_, first_row_, rows_;
  std::vector<int64_t> next_, count_;  // of each row: its first nonzero in this block, and how many
  std::vector<int64_t> start_;         // [count] first entry with this count
  int64_t entries_ = 0, values_ = 0;   // of this block
};

template <typename T>
void pack_panels(const CsrPackArgs<T>& args) {
  const CsrPanels<T> panels(args.weight.shape, args.layout, args.packed);
  const int64_t groups = panels.tiles * panels.blocks;
  panels.first_entry[0] = panels.first_value[0] = 0;
  parallel_for(panels.tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      TileWalk<T> walk(args, tile);
      for (int64_t block = 0; block < panels.blocks; ++block) {
        walk.enter(block);
        panels.first_entry[tile * panels.blocks + block + 1] = walk.entries();
        panels.first_value[tile * panels.blocks + block + 1] = walk.values();
      }
    }
  });
  for (int64_t g = 0; g < groups; ++g) {
    panels.first_entry[g + 1] += panels.first_entry[g];
    panels.first_value[g + 1] += panels.first_value[g];
  }
  parallel_for(panels.tiles, 1, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      TileWalk<T> walk(args, tile);
      for (int64_t block = 0; block < panels.blocks; ++block) {
        const int64_t g = tile * panels.blocks + block;
        walk.enter(block);
        walk.write(block, panels.entries + panels.first_entry[g], panels.offsets + panels.first_value[g],
                   panels.values + panels.first_value[g]);
      }
    }
  });
}

template <typename T>
void pack(const CsrPackArgs<T>& args) {
  const CsrHeader header = CsrHeader::of(args.weight.shape, args.layout, sizeof(T));
  std::memcpy(args.packed, &header, sizeof(header));
  args.layout.format == CsrFormat::kRows ? pack_rows(args) : pack_panels(args);
}

}  // namespace

void csr_matmul_pack(const CsrPackArgs<float>& args) { pack(args); }
void csr_matmul_pack(const CsrPackArgs<double>& args) { pack(args); }

void csr_transpose(const CsrTransposeArgs& args) {
  const CsrShape& shape = args.shape;
  std::fill_n(args.out_crow_indices, shape.k + 1, 0);
  for (int64_t p = 0; p < shape.nnz; ++p) ++args.out_crow_indices[args.col_indices[p] + 1];
  for (int64_t c = 0; c < shape.k; ++c) args.out_crow_indices[c + 1] += args.out_crow_indices[c];
  std::vector<int64_t> next(args.out_crow_indices, args.out_crow_indices + shape.k);
  for (int64_t row = 0; row < shape.n; ++row) {
    for (int64_t p = args.crow_indices[row]; p < args.crow_indices[row + 1]; ++p) {
      const int64_t at = next[args.col_indices[p]]++;
      args.out_col_indices[at] = row;
      args.order[at] = p;
    }
  }
}

}  // namespace greenkernels::cpu
