// Packing of operands for the micro-kernel of sgemm. Terms are summed on the way, and what lies outside of
// them counts as 0.

// kWidth elements of the sum of terms from (row, d) on, along the direction with stride 1. With kInside all
// of them exist in every term.
template <typename T, bool kInside>
GK_INLINE Vec<T> operand_at(const SgemmOperand<T>& x, int64_t row, int64_t d) {
  const int64_t offset = row * x.row_stride + d * x.depth_stride;
  if (kInside) {
    Vec<T> sum = Vec<T>::load(x.terms[0].data + offset);
    if (x.count == 1 && x.terms[0].sign == 1) return sum;
    sum = Vec<T>::broadcast(x.terms[0].sign) * sum;
    for (int t = 1; t < x.count; ++t)
      sum = fma(Vec<T>::broadcast(x.terms[t].sign), Vec<T>::load(x.terms[t].data + offset), sum);
    return sum;
  }
  Vec<T> sum = Vec<T>::broadcast(0);
  for (int t = 0; t < x.count; ++t) {
    const SgemmTerm<T>& term = x.terms[t];
    const bool along_depth = x.depth_stride == 1;
    const bool exists = along_depth ? row < term.rows : d < term.depth;
    const int64_t lanes = along_depth ? term.depth - d : term.rows - row;
    if (!exists || lanes <= 0) continue;
    const Vec<T> part =
        lanes < Vec<T>::kWidth ? Vec<T>::load_n(term.data + offset, lanes) : Vec<T>::load(term.data + offset);
    sum = fma(Vec<T>::broadcast(term.sign), part, sum);
  }
  return sum;
}

// Whether rows [row, row_end) and depth [d, d_end) lie inside of every term.
template <typename T>
bool is_inside(const SgemmOperand<T>& x, int64_t row_end, int64_t d_end) {
  for (int t = 0; t < x.count; ++t) {
    if (x.terms[t].rows < row_end || x.terms[t].depth < d_end) return false;
  }
  return true;
}

// kWidth x kWidth elements from (row, d) on: r[i] holds kWidth elements along the depth of row `row + i`, or,
// where that is the direction with stride 1, along rows of depth `d + i`; then transposed if `transposed`.
template <typename T, bool kInside>
GK_INLINE void load_square(const SgemmOperand<T>& x, int64_t row, int64_t d, Vec<T> (&r)[Vec<T>::kWidth]) {
  const int64_t row_step = x.depth_stride == 1 ? 1 : 0;
#pragma GCC unroll 16
  for (int i = 0; i < Vec<T>::kWidth; ++i)
    r[i] = operand_at<T, kInside>(x, row + i * row_step, d + i * (1 - row_step));
  transpose(r);
}

// a: rows [row, row + rows) and depth [d0, d0 + depth) to [depth / 16, rounded up][rows][16].
template <typename T, bool kInside>
void pack_rows_as(const SgemmOperand<T>& x, int64_t row, int64_t rows, int64_t d0, int64_t depth, T* to) {
  constexpr int kWidth = Vec<T>::kWidth;
  if (x.depth_stride == 1) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t d = 0; d < depth; d += kChunk)
#pragma GCC unroll 16
        for (int c = 0; c < kChunk; c += kWidth)
          operand_at<T, kInside>(x, row + i, d0 + d + c).store(to + (d * rows + i * kChunk) + c);
    return;
  }
  for (int64_t d = 0; d < depth; d += kChunk, to += rows * kChunk) {
    for (int64_t i = 0; i < rows; i += kWidth) {
      for (int c = 0; c < kChunk; c += kWidth) {
        Vec<T> square[kWidth];
        load_square<T, kInside>(x, row + i, d0 + d + c, square);
#pragma GCC unroll 16
        for (int j = 0; j < kWidth; ++j) {
          if (i + j < rows) square[j].store(to + (i + j) * kChunk + c);
        }
      }
    }
  }
}

template <typename T>
void pack_rows(const SgemmOperand<T>& x, int64_t row, int64_t rows, int64_t d0, int64_t depth, T* to) {
  constexpr int64_t kWidth = Vec<T>::kWidth;
  const int64_t row_end = x.depth_stride == 1 ? row + rows : row + (rows + kWidth - 1) / kWidth * kWidth;
  const int64_t d_end = d0 + (depth + kChunk - 1) / kChunk * kChunk;
  (is_inside(x, row_end, d_end) ? &pack_rows_as<T, true> : &pack_rows_as<T, false>)(x, row, rows, d0, depth,
                                                                                    to);
}

// b: rows [row, row + width) and depth [d0, d0 + depth) to [depth][width], width 16 or 32.
template <typename T, bool kInside>
void pack_panel_as(const SgemmOperand<T>& x, int64_t row, int64_t width, int64_t d0, int64_t depth, T* to) {
  constexpr int kWidth = Vec<T>::kWidth;
  if (x.row_stride == 1 && x.depth_stride != 1) {
    for (int64_t d = 0; d < depth; ++d) {
      for (int64_t c = 0; c < width; c += kWidth)
        operand_at<T, kInside>(x, row + c, d0 + d).store(to + d * width + c);
    }
    return;
  }
  for (int64_t d = 0; d < depth; d += kWidth) {
    for (int64_t c = 0; c < width; c += kWidth) {
      Vec<T> square[kWidth];
      load_square<T, kInside>(x, row + c, d0 + d, square);
#pragma GCC unroll 16
      for (int j = 0; j < kWidth; ++j) {
        if (d + j < depth) square[j].store(to + (d + j) * width + c);
      }
    }
  }
}

// The same of a panel in 16 bits.
template <typename S>
void widen_panel(const S* from, int64_t width, int64_t depth, float* to) {
  for (int64_t d = 0; d < depth; ++d) {
    for (int64_t c = 0; c < width; c += Vec<float>::kWidth)
      load_elements(from + d * kSgemmPanel + c).store(to + d * width + c);
  }
}

template <typename T>
void pack_panel(const SgemmOperand<T>& x, int64_t row, int64_t width, int64_t d0, int64_t depth, T* to) {
  if constexpr (std::is_same_v<T, float>) {
    const uint16_t* half = x.half ? x.half + row * x.terms[0].depth + d0 * kSgemmPanel : nullptr;
    if (half && x.half_format == HalfFormat::kBFloat16)
      return widen_panel(reinterpret_cast<const BFloat16*>(half), width, depth, to);
    if (half) return widen_panel(reinterpret_cast<const Float16*>(half), width, depth, to);
  }
  constexpr int64_t kWidth = Vec<T>::kWidth;
  const int64_t d_end = d0 + (x.depth_stride == 1 ? (depth + kWidth - 1) / kWidth * kWidth : depth);
  (is_inside(x, row + width, d_end) ? &pack_panel_as<T, true> : &pack_panel_as<T, false>)(x, row, width, d0,
                                                                                          depth, to);
}
