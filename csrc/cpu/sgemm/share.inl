// sgemm of one instruction set: what a thread computes of a product, in the loops of Goto and van de Geijn. A
// block of a is packed for L2, a panel of b for L1; both are walked through in slices of the depth.
#include "cpu/activation.inl"
#include "cpu/sgemm/micro.inl"
#include "cpu/sgemm/few_rows.inl"
#include "cpu/sgemm/output.inl"
#include "cpu/sgemm/pack.inl"

// A share on its way through the loops.
template <typename T>
struct GemmPass {
  const SgemmProduct<T>& p;
  const SgemmShare& share;
  T *a, *b, *tile;           // scratch: packed rows of a, packed columns of b, sums of a tile that is cut off
  int64_t d, depth;          // the slice
  int64_t row, rows;         // the block of a
  int64_t next_row, next_d;  // the block after it
  int64_t column, width;     // the panel of b; its width is 16 or 32
  int64_t panels;            // of b, in this pass over the block of a

  bool last_slice() const { return d + depth == p.k; }
  int64_t tiles() const { return (rows + kGemmRows - 1) / kGemmRows; }
  int64_t padded_depth() const { return (depth + kChunk - 1) / kChunk * kChunk; }
};

// One tile: the product of `rows` packed rows of a, from row `row` of the product on, with a panel of b.
template <typename T>
void multiply_tile(const GemmPass<T>& g, const T* a, const T* b, int64_t row, int64_t rows,
                   const SgemmFetch& fetch) {
  const SgemmProduct<T>& p = g.p;
  SgemmTarget<T> targets[kSgemmTerms];
  bool cut = p.out_column != 1;
  for (int o = 0; o < p.outs; ++o) {
    const SgemmOutput<T>& part = p.out[o];
    const int64_t offset = row * p.out_stride + g.column * p.out_column;
    T* out = part.data + offset;
    if (part.skip && part.last && g.last_slice()) fetch_skip(p, part.skip + offset, rows, g.width);
    const bool fresh = part.first && !part.keep && g.d == 0;
    const T* bias = part.bias ? part.bias + g.column : nullptr;
    targets[o] = {out, fresh ? bias : out, fresh ? 0 : p.out_stride, part.sign};
    cut |= row + rows > part.rows || g.column + g.width > part.columns;
  }
  const auto micro =
      g.width == kSgemmPanel ? gemm_micro<T, kSgemmPanel>(rows) : gemm_micro<T, kSgemmHalfPanel>(rows);
  if (cut) {
    const SgemmTarget<T> whole{g.tile, nullptr, 0, T(1)};
    micro(a, b, g.depth, fetch, &whole, 1, kSgemmPanel);
  } else {
    micro(a, b, g.depth, fetch, targets, p.outs, p.out_stride);
  }
  for (int o = 0; o < p.outs; ++o) {
    const SgemmOutput<T>& part = p.out[o];
    const int64_t rows_left = part.rows - row, columns_left = part.columns - g.column;
    const int64_t out_rows = rows_left < rows ? rows_left : rows;
    const int64_t out_columns = columns_left < g.width ? columns_left : g.width;
    if (p.out_column != 1) {
      add_transposed(targets[o], g.tile, p.out_column, out_rows, out_columns);
    } else if (cut) {
      add_tile(targets[o], g.tile, kSgemmPanel, p.out_stride, out_rows, out_columns);
    }
    if (!part.last || !g.last_slice()) continue;
    finish_part(p, part, row, g.column, out_rows, out_columns);
  }
}

// What the micro-kernel fetches during tile `tile` of panel `panel`. Anything past the operands is harmless:
// a fetch cannot fault.
template <typename T>
SgemmFetch plan_fetch(const GemmPass<T>& g, int64_t panel, int64_t tile, int64_t row, const T* b,
                      bool b_is_packed) {
  const SgemmProduct<T>& p = g.p;
  const char* idle = reinterpret_cast<const char*>(g.tile);
  const T* out = p.out[0].data + row * p.out_stride + g.column * p.out_column;
  const bool transposed = p.out_column != 1;  // then lines are columns, and the two halves of them a pair
  SgemmFetch fetch{reinterpret_cast<const char*>(out),
                   transposed ? kSgemmHalfPanel * p.out_column * int64_t(sizeof(T)) : 0,
                   (transposed ? p.out_column : p.out_stride) * int64_t(sizeof(T)),
                   idle,
                   0,
                   0,
                   idle};
  if (p.outs > 1) fetch.out_pair = (p.out[1].data - p.out[0].data) * int64_t(sizeof(T));
  constexpr int64_t kTilesAPanel = 8;  // that fetch the next panel, 4 lines for each 16 k
  const int64_t first_d = tile % kTilesAPanel * (kSgemmSlice / kTilesAPanel);
  if (b_is_packed) {
    if (tile < kTilesAPanel) {
      fetch.b = reinterpret_cast<const char*>(b + (g.depth + first_d) * g.width);
      fetch.b_pair = g.width * sizeof(T);
      fetch.b_step = 2 * fetch.b_pair;
    }
  } else if (p.b.row_stride == 1 && tile < kTilesAPanel * p.b.count) {
    const T* data = p.b.terms[tile / kTilesAPanel].data + g.column + kSgemmPanel;
    fetch.b = reinterpret_cast<const char*>(data + (g.d + first_d) * p.b.depth_stride);
    fetch.b_pair = p.b.depth_stride * sizeof(T);
    fetch.b_step = 2 * fetch.b_pair;
  } else if (p.b.row_stride != 1 && tile < kSgemmPanel / 2 * p.b.count) {
    const T* data = p.b.terms[tile / (kSgemmPanel / 2)].data + g.d;
    const int64_t first = g.column + kSgemmPanel + 2 * (tile % (kSgemmPanel / 2));
    fetch.b = reinterpret_cast<const char*>(data + first * p.b.row_stride);
    fetch.b_pair = p.b.row_stride * sizeof(T);
    fetch.b_step = 64;
  }
  // The last tiles of a block fetch the next one, row by row.
  const int64_t left = (g.panels - panel) * g.tiles() - tile - 1;
  if (p.a.depth_stride == 1 && left < g.rows * p.a.count) {
    const T* data = p.a.terms[left / g.rows].data + g.next_d;
    fetch.a = reinterpret_cast<const char*>(data + (g.next_row + left % g.rows) * p.a.row_stride);
  }
  return fetch;
}

// 2nd and 1st loop around the micro-kernel: panels of b, and for each of them the rows of a in L2.
template <typename T>
void multiply_block(GemmPass<T>& g, bool pack_b) {
  const SgemmProduct<T>& p = g.p;
  const int64_t first_column = g.column, tiles = g.tiles(), padded = sgemm_padded_columns(p.n);
  for (int64_t panel = 0; panel < g.panels; ++panel, g.column += kSgemmPanel) {
    const int64_t left = padded - g.column;
    g.width = left < kSgemmPanel ? left : kSgemmPanel;
    const T* b =
        p.packed ? p.packed + padded * g.d + g.column * g.depth : g.b + (g.column - first_column) * g.depth;
    if (pack_b) pack_panel(p.b, g.column, g.width, g.d, g.depth, const_cast<T*>(b));
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t row = g.rows * t / tiles, rows = g.rows * (t + 1) / tiles - row;
      const SgemmFetch fetch = plan_fetch(g, panel, t, g.row + row, b, !pack_b);
      multiply_tile(g, g.a + row * g.padded_depth(), b, g.row + row, rows, fetch);
    }
  }
  g.column = first_column;
}

// 3rd loop: blocks of rows of a, as many as fit in L2.
template <typename T>
void multiply_slice(GemmPass<T>& g, const SgemmBlocks& blocks) {
  const int64_t rows = g.share.row_end - g.share.row;
  const int64_t count = (rows + blocks.block_rows - 1) / blocks.block_rows;
  for (int64_t i = 0; i < count; ++i) {
    g.row = g.share.row + rows * i / count;
    g.rows = g.share.row + rows * (i + 1) / count - g.row;
    g.next_row = i + 1 < count ? g.row + g.rows : g.share.row;
    g.next_d = i + 1 < count ? g.d : g.d + g.depth;
    for (int64_t t = 0; t < g.tiles(); ++t) {
      const int64_t row = g.rows * t / g.tiles(), end = g.rows * (t + 1) / g.tiles();
      pack_rows(g.p.a, g.row + row, end - row, g.d, g.depth, g.a + row * g.padded_depth());
    }
    multiply_block(g, i == 0 && !g.p.packed);
  }
}

// A share with few rows, without packing.
template <typename T>
void multiply_few_rows(const SgemmProduct<T>& p, const SgemmShare& share, const SgemmBlocks& blocks,
                       T* sums) {
  const SgemmOutput<T>& part = p.out[0];
  const int64_t rows = share.row_end - share.row;
  const auto multiply = few_rows<T>(rows, p.b.depth_stride == 1);
  for (int64_t column = share.column; column < share.column_end; column += blocks.block_columns) {
    const int64_t left = share.column_end - column;
    const int64_t columns = left < blocks.block_columns ? left : blocks.block_columns;
    multiply(p, share.row, column, columns, sums, columns);
    T* out = part.data + share.row * p.out_stride + column;
    const T* bias = part.bias ? part.bias + column : nullptr;
    const SgemmTarget<T> target{out, part.keep ? out : bias, part.keep ? p.out_stride : 0, part.sign};
    add_tile(target, sums, columns, p.out_stride, rows, columns);
    finish_part(p, part, share.row, column, rows, columns);
  }
}

// 5th and 4th loop: columns whose packed slice fits in L3, and slices of the depth. scratch: share_scratch()
// elements.
template <typename T>
void multiply_share(const SgemmProduct<T>& p, const SgemmShare& share, const SgemmBlocks& blocks,
                    const SgemmScratch& sizes, T* scratch) {
  if (has_few_rows(p, share)) return multiply_few_rows(p, share, blocks, scratch + sizes.a);
  GemmPass<T> g{p, share, scratch, scratch + sizes.a, scratch + sizes.a + sizes.b, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  for (int64_t column = share.column; column < share.column_end; column += blocks.block_columns) {
    const int64_t left = share.column_end - column;
    const int64_t columns = left < blocks.block_columns ? left : blocks.block_columns;
    g.column = column;
    g.panels = (columns + kSgemmPanel - 1) / kSgemmPanel;
    g.d = 0;
    do {  // also once where the depth is 0: the output is the bias then
      g.depth = p.k - g.d < kSgemmSlice ? p.k - g.d : kSgemmSlice;
      multiply_slice(g, blocks);
      g.d += kSgemmSlice;
    } while (g.d < p.k);
  }
}

template <typename T>
SgemmStages<T> sgemm_stages() {
  return {kGemmRows, &multiply_share<T>, &pack_panel<T>};
}
