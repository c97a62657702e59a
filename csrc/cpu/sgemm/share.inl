// sgemm of one instruction set: what a thread computes of a product, in the loops of Goto and van de Geijn. A
// block of a is packed for L2, a panel of b for L1; both are walked through in slices of the depth.
#include "cpu/activation.inl"
#include "cpu/map_elements.inl"
#include "cpu/sgemm/micro.inl"
#include "cpu/sgemm/few_rows.inl"
#include "cpu/sgemm/output.inl"
#include "cpu/sgemm/pack.inl"

// A share on its way through the loops.
template <typename T>
struct GemmPass {
  const SgemmProduct<T>& p;
  const SgemmShare& share;
  T* a;                      // scratch: packed rows, [slice][tile][depth of the slice, in chunks]
  T* b;                      // scratch: packed columns, [panel][depth of the block][width]
  T* sums;                   // scratch: [row of the block][kSgemmPanel], of the slices before
  T* tile;                   // scratch: sums of a tile that is cut off
  int64_t first_d, end_d;    // the depth of the block
  int64_t d, depth;          // the slice
  int64_t row, rows;         // the block of a
  int64_t next_row, next_d;  // the block after it
  int64_t column, width;     // the panel of b; its width is 16 or 32
  int64_t panels;            // of b, in this pass over the block of a
  bool keeps_b;  // packed columns stay for more blocks of a; else each panel takes the place of the last

  int64_t tiles() const { return (rows + kGemmRows - 1) / kGemmRows; }
  int64_t padded_depth() const { return (depth + kChunk - 1) / kChunk * kChunk; }
  T* packed_rows() const { return a + (d - first_d) * rows; }
  void begin_slice(int64_t from) {
    d = from;
    depth = end_d - from < kSgemmSlice ? end_d - from : kSgemmSlice;
  }
};

// One tile: the product of `rows` packed rows of a, from row `row` of the product on, with a panel of b.
// Until the last slice of the block its sums stay in scratch, so that the output is read and written once a
// block.
template <typename T>
void multiply_tile(const GemmPass<T>& g, const T* a, const T* b, int64_t row, int64_t rows,
                   const SgemmFetch& fetch) {
  const SgemmProduct<T>& p = g.p;
  const auto micro =
      g.width == kSgemmPanel ? gemm_micro<T, kSgemmPanel>(rows) : gemm_micro<T, kSgemmHalfPanel>(rows);
  T* sums = g.sums + (row - g.row) * kSgemmPanel;
  const T* before = g.d == g.first_d ? nullptr : sums;
  if (g.d + g.depth < g.end_d) {
    const SgemmTarget<T> kept{sums, nullptr, 0, T(1)};
    return micro(a, b, g.depth, fetch, {before, nullptr, &kept, 1, kSgemmPanel});
  }
  SgemmTarget<T> targets[kSgemmTerms];
  bool cut = p.out_column != 1;
  for (int o = 0; o < p.outs; ++o) {
    const SgemmOutput<T>& part = p.out[o];
    const int64_t offset = row * p.out_stride + g.column * p.out_column;
    T* out = part.data + offset;
    if (part.skip && part.last && g.end_d == p.k) fetch_lines_of(p, part.skip + offset, rows, g.width);
    if (g.depth < kClosingDepth && p.outs == 1) fetch_lines_of(p, out, rows, g.width);
    const bool fresh = part.first && !part.keep && g.first_d == 0;
    const T* bias = part.bias ? part.bias + g.column : nullptr;
    targets[o] = {out, fresh ? bias : out, fresh ? 0 : p.out_stride, part.sign};
    cut |= row + rows > part.rows || g.column + g.width > part.columns;
  }
  if (cut) {
    const SgemmTarget<T> whole{g.tile, nullptr, 0, T(1)};
    micro(a, b, g.depth, fetch, {before, nullptr, &whole, 1, kSgemmPanel});
  } else {
    const T* skip = p.out[0].skip ? p.out[0].skip + row * p.out_stride + g.column : nullptr;
    SgemmFinish<T> finish;
    const bool finished =
        p.outs == 1 && p.out[0].last && g.end_d == p.k && finish_in_registers(p, skip, finish);
    micro(a, b, g.depth, fetch, {before, finished ? &finish : nullptr, targets, p.outs, p.out_stride});
    if (finished) return;
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
    if (part.last && g.end_d == p.k) finish_part(p, part, row, g.column, out_rows, out_columns);
  }
}

// What is multiplied next: a slice of this panel of b or the first slice of the panel behind it.
struct NextSlice {
  int64_t column, d, depth;
};

template <typename T>
NextSlice next_slice(const GemmPass<T>& g) {
  NextSlice next{g.column, g.d + g.depth, 0};
  if (next.d == g.end_d) next = {g.column + kSgemmPanel, g.first_d, 0};
  next.depth = g.end_d - next.d < kSgemmSlice ? g.end_d - next.d : kSgemmSlice;
  return next;
}

constexpr int64_t kTilesAPanel = 8;  // that fetch the next panel, 4 lines for each 16 k

// The lines of b that tile `tile` fetches: packed ones at `next`, or those that will be packed.
template <typename T>
void plan_fetch_of_b(const GemmPass<T>& g, int64_t tile, const T* packed, SgemmFetch& fetch) {
  const SgemmProduct<T>& p = g.p;
  const NextSlice next = next_slice(g);
  const int64_t depths = tile % kTilesAPanel * (kSgemmSlice / kTilesAPanel);
  if (packed && g.tiles() < kTilesAPanel) {  // with few rows all waits for b
    constexpr int64_t kChunks = kSgemmSlice / kChunk, kLines = kSgemmSlice * kSgemmPanel * sizeof(T) / 64;
    fetch.stream_lines = (kLines / kChunks + g.tiles() - 1) / g.tiles();
    fetch.stream = reinterpret_cast<const char*>(packed) + tile * kChunks * fetch.stream_lines * 64;
  } else if (packed) {
    if (tile >= kTilesAPanel) return;
    fetch.b = reinterpret_cast<const char*>(packed + depths * g.width);
    fetch.b_pair = g.width * sizeof(T);
    fetch.b_step = 2 * fetch.b_pair;
  } else if (p.b.half) {
    constexpr int64_t kChunks = kSgemmSlice / kChunk,
                      kTiles = 4;  // that fetch a slice, 4 lines for each 16 k
    const auto* line = reinterpret_cast<const char*>(p.b.half + next.column * p.k + next.d * kSgemmPanel);
    if (g.tiles() < kTiles) {
      fetch.stream_lines = (4 * kTiles + g.tiles() - 1) / g.tiles();
      fetch.stream = line + tile * kChunks * fetch.stream_lines * 64;
    } else if (tile < kTiles) {
      fetch.b = line + tile * kChunks * 4 * 64;
      fetch.b_pair = 2 * 64;
      fetch.b_step = 4 * 64;
    }
  } else if (p.b.row_stride == 1 && tile < kTilesAPanel * p.b.count) {
    const T* data = p.b.terms[tile / kTilesAPanel].data + next.column;
    fetch.b = reinterpret_cast<const char*>(data + (next.d + depths) * p.b.depth_stride);
    fetch.b_pair = p.b.depth_stride * sizeof(T);
    fetch.b_step = 2 * fetch.b_pair;
  } else if (p.b.row_stride != 1 && tile < kSgemmPanel / 2 * p.b.count) {
    const T* data = p.b.terms[tile / (kSgemmPanel / 2)].data + next.d;
    const int64_t first = next.column + 2 * (tile % (kSgemmPanel / 2));
    fetch.b = reinterpret_cast<const char*>(data + first * p.b.row_stride);
    fetch.b_pair = p.b.row_stride * sizeof(T);
    fetch.b_step = 64;
  }
}

// At least 1: a product of no depth goes through the loops once, too.
inline int64_t slices_of(int64_t depth) { return depth > 0 ? (depth + kSgemmSlice - 1) / kSgemmSlice : 1; }

// What the micro-kernel fetches during tile `tile` of panel `panel`. Anything past the operands is harmless:
// a fetch cannot fault.
template <typename T>
SgemmFetch plan_fetch(const GemmPass<T>& g, int64_t panel, int64_t tile, int64_t row, const T* next_b) {
  const SgemmProduct<T>& p = g.p;
  const char* idle = reinterpret_cast<const char*>(g.tile);
  SgemmFetch fetch{idle, 0, 0, idle, 0, 0, idle, idle};
  if (g.d + g.depth == g.end_d) {
    const bool transposed = p.out_column != 1;  // then lines are columns, and the two halves of them a pair
    fetch.out = reinterpret_cast<const char*>(p.out[0].data + row * p.out_stride + g.column * p.out_column);
    fetch.out_pair = transposed ? kSgemmHalfPanel * p.out_column * int64_t(sizeof(T)) : 0;
    fetch.out_step = (transposed ? p.out_column : p.out_stride) * int64_t(sizeof(T));
    if (p.outs > 1) fetch.out_pair = (p.out[1].data - p.out[0].data) * int64_t(sizeof(T));
  }
  plan_fetch_of_b(g, tile, next_b, fetch);
  // The last tiles of a block fetch the next one, row by row.
  const int64_t slices = slices_of(g.end_d - g.first_d);
  const int64_t left = ((g.panels - panel - 1) * slices + slices_of(g.end_d - g.d)) * g.tiles() - tile - 1;
  if (p.a.depth_stride == 1 && left < g.rows * slices * p.a.count) {
    const T* data =
        p.a.terms[left / (g.rows * slices)].data + g.next_d + left / g.rows % slices * kSgemmSlice;
    fetch.a = reinterpret_cast<const char*>(data + (g.next_row + left % g.rows) * p.a.row_stride);
  }
  return fetch;
}

// 2nd and 1st loop around the micro-kernel: panels of b, slices of the block's depth, and for each of them
// the rows of a in L2.
template <typename T>
void multiply_block(GemmPass<T>& g, bool pack_b) {
  const SgemmProduct<T>& p = g.p;
  const int64_t first_column = g.column, tiles = g.tiles(), padded = sgemm_padded_columns(p.n);
  for (int64_t panel = 0; panel < g.panels; ++panel, g.column += kSgemmPanel) {
    const int64_t left = padded - g.column;
    g.width = left < kSgemmPanel ? left : kSgemmPanel;
    for (int64_t d = g.first_d; d == g.first_d || d < g.end_d; d += kSgemmSlice) {
      g.begin_slice(d);
      const NextSlice next = next_slice(g);
      const T* b = p.packed ? p.packed + padded * d + g.column * g.depth
                            : g.b + g.keeps_b * ((g.column - first_column) * (g.end_d - g.first_d) +
                                                 (d - g.first_d) * g.width);
      const T* next_b =
          p.packed ? p.packed + padded * next.d + next.column * next.depth : b + g.depth * g.width;
      if (pack_b) pack_panel(p.b, g.column, g.width, d, g.depth, const_cast<T*>(b));
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t row = g.rows * t / tiles, rows = g.rows * (t + 1) / tiles - row;
        const SgemmFetch fetch = plan_fetch(g, panel, t, g.row + row, pack_b ? nullptr : next_b);
        multiply_tile(g, g.packed_rows() + row * g.padded_depth(), b, g.row + row, rows, fetch);
      }
    }
  }
  g.column = first_column;
}

// 3rd loop: blocks of rows of a, as many as fit in L2.
template <typename T>
void multiply_deep(GemmPass<T>& g, const SgemmBlocks& blocks) {
  const int64_t rows = g.share.row_end - g.share.row;
  const int64_t count = (rows + blocks.block_rows - 1) / blocks.block_rows;
  g.keeps_b = count > 1;
  for (int64_t i = 0; i < count; ++i) {
    g.row = g.share.row + rows * i / count;
    g.rows = g.share.row + rows * (i + 1) / count - g.row;
    g.next_row = i + 1 < count ? g.row + g.rows : g.share.row;
    g.next_d = i + 1 < count ? g.first_d : g.end_d;
    for (int64_t d = g.first_d; d < g.end_d; d += kSgemmSlice) {
      g.begin_slice(d);
      for (int64_t t = 0; t < g.tiles(); ++t) {
        const int64_t row = g.rows * t / g.tiles(), end = g.rows * (t + 1) / g.tiles();
        pack_rows(g.p.a, g.row + row, end - row, d, g.depth, g.packed_rows() + row * g.padded_depth());
      }
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

// 5th and 4th loop: columns whose packed depth fits in L3, and that depth. scratch: sizes.size() elements.
template <typename T>
void multiply_share(const SgemmProduct<T>& p, const SgemmShare& share, const SgemmBlocks& blocks,
                    const SgemmScratch& sizes, T* scratch) {
  if (has_few_rows(p, share)) return multiply_few_rows(p, share, blocks, scratch + sizes.a);
  T* const b = scratch + sizes.a;
  T* const sums = b + sizes.b;
  GemmPass<T> g{p, share, scratch, b, sums, sums + sizes.sums, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, false};
  for (int64_t column = share.column; column < share.column_end; column += blocks.block_columns) {
    const int64_t left = share.column_end - column;
    const int64_t columns = left < blocks.block_columns ? left : blocks.block_columns;
    g.column = column;
    g.panels = (columns + kSgemmPanel - 1) / kSgemmPanel;
    g.first_d = 0;
    do {  // also once where the depth is 0: the output is the bias then
      g.end_d = p.k - g.first_d < blocks.block_depth ? p.k : g.first_d + blocks.block_depth;
      multiply_deep(g, blocks);
      g.first_d = g.end_d;
    } while (g.first_d < p.k);
  }
}

template <typename T>
SgemmStages<T> sgemm_stages() {
  return {kGemmRows, &multiply_share<T>, &pack_panel<T>};
}
