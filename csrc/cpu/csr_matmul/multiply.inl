// A tile of a packed weight times a strip: the part that csr_matmul and csr_conv2d share.

// Sums that a row keeps side by side, so that a multiply-add (4 cycles) does not wait for the one before.
template <typename T, int kLines>
inline constexpr int kCsrVecs = int(kLines * kCsrLanes) / Vec<T>::kWidth;
template <typename T, int kLines>
inline constexpr int kCsrSums = kCsrVecs<T, kLines> >= 6   ? 1
                                : kCsrVecs<T, kLines> >= 3 ? 2
                                                           : 4;

#if GK_ISA_WIDTH == 4 && !defined(__SANITIZE_ADDRESS__)
// Adds weight * line to the sums from kAt on, two vectors a load: gcc 12 joins few loads in pairs by itself.
template <typename T, int kLines, int kAt = 0>
GK_INLINE void csr_add_pairs(const char* line, Vec<T> weight, Vec<T> (&sum)[kCsrVecs<T, kLines>]) {
  constexpr int kBytes = kLines * kCsrLanes * sizeof(T), kVecBytes = Vec<T>::kWidth * sizeof(T);
  if constexpr (kAt < kCsrVecs<T, kLines>) {
    Vec<T> a, b;
    asm("ldp %q0, %q1, [%2, %3]"
        : "=w"(a.v), "=w"(b.v)
        : "r"(line), "i"(kAt * kVecBytes), "m"(*reinterpret_cast<const char (*)[kBytes]>(line)));
    sum[kAt] = fma(weight, a, sum[kAt]);
    sum[kAt + 1] = fma(weight, b, sum[kAt + 1]);
    csr_add_pairs<T, kLines, kAt + 2>(line, weight, sum);
  }
}
#endif

// Adds value * x[offset] to one of the sums. Offsets are in bytes of one line of floats.
template <typename T, int kLines>
GK_INLINE void csr_step(const T* x, uint64_t offset, T value, Vec<T> (&sum)[kCsrVecs<T, kLines>]) {
  const char* line = reinterpret_cast<const char*>(x) + offset * (kLines * sizeof(T) / 4);
  // One address for all lines: a multiply-add with an index in its memory operand counts as two instructions
  // of the six that a core begins in a cycle (Intel). Worth 0 to 25 %, most where another thread shares the
  // core.
  if constexpr (kCsrVecs<T, kLines> > 1) asm("" : "+r"(line));
  const Vec<T> weight = Vec<T>::broadcast(value);
#if GK_ISA_WIDTH == 4 && !defined(__SANITIZE_ADDRESS__)
  csr_add_pairs<T, kLines>(line, weight, sum);
#else
#pragma GCC unroll 16
  for (int j = 0; j < kCsrVecs<T, kLines>; ++j) {
    Vec<T> xs = Vec<T>::load(reinterpret_cast<const T*>(line) + j * Vec<T>::kWidth);
#if GK_ISA_WIDTH == 16
    // A single vector is loaded by an instruction of its own, for which an index is free, and the weight is
    // the memory operand of the multiply-add. 8 to 10 % for 16 rows of x.
    if constexpr (kCsrVecs<T, kLines> == 1) asm("" : "+v"(xs.v));
#endif
    sum[j] = fma(weight, xs, sum[j]);
  }
#endif
}

// Adds the product of the nonzeros of one row of a block with the block's part of the strip to `row`, which
// counts as 0 in the first block.
template <typename T, int kLines, bool kFirst>
GK_INLINE void csr_row(const uint16_t* offset, const T* value, int64_t count, const T* x, T* row) {
  constexpr int kVecs = kCsrVecs<T, kLines>, kSums = kCsrSums<T, kLines>;
  Vec<T> sum[kSums][kVecs];
#pragma GCC unroll 16
  for (int j = 0; j < kVecs; ++j) {
    sum[0][j] = kFirst ? Vec<T>::broadcast(T(0)) : Vec<T>::load(row + j * Vec<T>::kWidth);
#pragma GCC unroll 4
    for (int s = 1; s < kSums; ++s) sum[s][j] = Vec<T>::broadcast(T(0));
  }
  for (; count >= 4; count -= 4, offset += 4, value += 4) {
    uint64_t four;  // offsets, fetched by one load: loads are what binds
    std::memcpy(&four, offset, sizeof(four));
#pragma GCC unroll 4
    for (int u = 0; u < 4; ++u) {
      csr_step<T, kLines>(x, four >> (16 * u) & 0xffff, value[u], sum[u % kSums]);
    }
  }
  for (; count > 0; --count, ++offset, ++value) csr_step<T, kLines>(x, *offset, *value, sum[0]);
#pragma GCC unroll 16
  for (int j = 0; j < kVecs; ++j) {
#pragma GCC unroll 4
    for (int s = 1; s < kSums; ++s) sum[0][j] = sum[0][j] + sum[s][j];
    sum[0][j].store(row + j * Vec<T>::kWidth);
  }
}

// Fetches nothing ahead: what csr_matmul multiplies is in the cache already.
struct CsrNoAhead {
  GK_INLINE void row() {}
};

// `ahead` is told of every row, to fetch what is needed next while this is multiplied.
template <typename T, int kLines, bool kFirst, typename Ahead>
void csr_block(const CsrPanels<T>& panels, int64_t group, const T* x, T* tile, Ahead& ahead) {
  const CsrEntry* entry = panels.entries + panels.first_entry[group];
  const CsrEntry* const end = panels.entries + panels.first_entry[group + 1];
  const uint16_t* offset = panels.offsets + panels.first_value[group];
  const T* value = panels.values + panels.first_value[group];
  for (; entry != end; ++entry) {
    ahead.row();
    csr_row<T, kLines, kFirst>(offset, value, entry->count, x, tile + entry->row * (kLines * kCsrLanes));
    offset += entry->count;
    value += entry->count;
  }
}

// Block `block` of columns of a tile of rows of the weight times its part of a strip, added to `out`, which
// the first block writes.
template <typename T, int kLines, typename Ahead>
void csr_tile_block(const CsrPanels<T>& panels, const CsrLayout& layout, int64_t tile, int64_t block,
                    const T* x, T* out, Ahead& ahead) {
  const int64_t group = tile * panels.blocks + block;
  if (block == 0) {
    // Where every row has nonzeros in the first block it writes all of the tile, which need not be cleared.
    const bool full =
        panels.blocks > 0 && panels.first_entry[group + 1] - panels.first_entry[group] == layout.row_tile;
    if (full) return csr_block<T, kLines, true>(panels, group, x, out, ahead);
    std::fill_n(out, layout.row_tile * kLines * kCsrLanes, T(0));
  }
  if (block < panels.blocks) csr_block<T, kLines, false>(panels, group, x, out, ahead);
}

template <typename T, typename Ahead>
void csr_any_tile_block(const CsrPanels<T>& panels, const CsrLayout& layout, int64_t tile, int64_t block,
                        int64_t lines, const T* x, T* out, Ahead& ahead) {
  static_assert(kCsrMaxLines == 4);
  switch (lines) {
    case 1:
      return csr_tile_block<T, 1>(panels, layout, tile, block, x, out, ahead);
    case 2:
      return csr_tile_block<T, 2>(panels, layout, tile, block, x, out, ahead);
    case 3:
      return csr_tile_block<T, 3>(panels, layout, tile, block, x, out, ahead);
    default:
      return csr_tile_block<T, 4>(panels, layout, tile, block, x, out, ahead);
  }
}

// A tile of rows of the weight times a strip of x: blocks of columns one after the other. Without columns,
// too, there is a first block.
template <typename T>
void csr_any_tile(const CsrPanels<T>& panels, const CsrLayout& layout, int64_t tile, int64_t lines,
                  const T* strip, T* out) {
  CsrNoAhead ahead;
  for (int64_t block = 0; block < std::max<int64_t>(1, panels.blocks); ++block) {
    const T* const x = strip + block * layout.k_block * lines * kCsrLanes;
    csr_any_tile_block(panels, layout, tile, block, lines, x, out, ahead);
  }
}
