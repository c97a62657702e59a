// Rows of x to strips, and tiles of the product to rows of out. A strip holds lines of 16 rows of x each,
// column by column: [k][16 * lines]; a tile of the product likewise: [row of the weight][16 * lines].

// A square of Vec width: row i of `from` becomes column i of `to`.
template <typename T>
struct CsrSquare {
  const T* from;
  int64_t from_stride;
  T* to;
  int64_t to_stride;
};

template <typename T>
GK_INLINE void csr_turn(const CsrSquare<T>& square, Vec<T> add) {
  constexpr int kWidth = Vec<T>::kWidth;
  Vec<T> r[kWidth];
#pragma GCC unroll 16
  for (int i = 0; i < kWidth; ++i) r[i] = Vec<T>::load(square.from + i * square.from_stride);
  transpose(r);
#pragma GCC unroll 16
  for (int i = 0; i < kWidth; ++i) (r[i] + add).store(square.to + i * square.to_stride);
}

// The same where only rows x cols elements are there, the others being 0; writes cols rows of `lanes`
// elements.
template <typename T>
void csr_turn_edge(const CsrSquare<T>& square, int64_t rows, int64_t cols, int64_t lanes, Vec<T> add) {
  constexpr int kWidth = Vec<T>::kWidth;
  Vec<T> r[kWidth];
  for (int i = 0; i < kWidth; ++i) {
    r[i] = i < rows ? Vec<T>::load_n(square.from + i * square.from_stride, cols) : Vec<T>::broadcast(T(0));
  }
  transpose(r);
  for (int i = 0; i < cols; ++i) (r[i] + add).store_n(square.to + i * square.to_stride, lanes);
}

// Rows [first, first + 16 * lines) of a row-major [rows, cols] matrix, their columns [begin, end), into a
// strip; rows that it does not have as zeros.
template <typename T>
void csr_fill_strip(const CsrMatrix<T>& matrix, int64_t first, int64_t lines, int64_t begin, int64_t end,
                    T* strip) {
  constexpr int kWidth = Vec<T>::kWidth;
  const int64_t wide = lines * kCsrLanes;
  const Vec<T> nothing = Vec<T>::broadcast(T(0));
  for (int64_t lane = 0; lane < wide; lane += kWidth) {
    const int64_t rows = std::clamp<int64_t>(matrix.rows - first - lane, 0, kWidth);
    const T* from = matrix.data + std::min(first + lane, matrix.rows - 1) * matrix.cols;
    for (int64_t c = begin; c < end; c += kWidth) {
      const CsrSquare<T> square{from + c, matrix.cols, strip + c * wide + lane, wide};
      if (rows == kWidth && c + kWidth <= end) {
        csr_turn(square, nothing);
      } else {
        csr_turn_edge(square, rows, std::min<int64_t>(kWidth, end - c), kWidth, nothing);
      }
    }
  }
}

// A tile of the product, rows [first_col, first_col + cols) of the weight, into rows of out from first_row
// on, with the bias. As many rows of out as a vector is wide are written from end to end before the next
// ones: the processor fetches ahead along each of so few rows, not along those of a whole strip.
template <typename T>
void csr_empty_tile(const CsrMatmulArgs<T>& args, const T* tile, int64_t lines, int64_t first_row,
                    int64_t first_col, int64_t cols) {
  constexpr int kWidth = Vec<T>::kWidth;
  const int64_t n = args.shape.n, wide = lines * kCsrLanes;
  const int64_t rows = std::min(wide, args.m - first_row);
  for (int64_t lane = 0; lane < rows; lane += kWidth) {
    for (int64_t c = 0; c < cols; c += kWidth) {
      const int64_t width = std::min<int64_t>(kWidth, cols - c);
      const Vec<T> bias =
          args.bias ? Vec<T>::load_n(args.bias + first_col + c, width) : Vec<T>::broadcast(T(0));
      T* const to = args.out + (first_row + lane) * n + first_col + c;
      const CsrSquare<T> square{tile + c * wide + lane, wide, to, n};
      if (width == kWidth && lane + kWidth <= rows) {
        csr_turn(square, bias);
      } else {
        csr_turn_edge(square, width, std::min<int64_t>(kWidth, rows - lane), width, bias);
      }
    }
  }
}
