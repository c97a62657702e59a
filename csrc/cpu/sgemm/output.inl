// How sums of sgemm that lie in a tile reach the output, and what is done to a block of it that is complete:
// the skip connection and the activation.

// Adds the tile, its rows tile_stride apart, to the first `rows` rows and `columns` columns of a target.
template <typename T>
void add_tile(const SgemmTarget<T>& target, const T* tile, int64_t tile_stride, int64_t out_stride,
              int64_t rows, int64_t columns) {
  const Vec<T> sign = Vec<T>::broadcast(target.sign);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < columns; c += Vec<T>::kWidth) {
      const int64_t lanes = columns - c;
      const Vec<T> sum = Vec<T>::load_n(tile + i * tile_stride + c, lanes);
      const Vec<T> value =
          target.from ? fma(sign, sum, Vec<T>::load_n(target.from + i * target.from_stride + c, lanes))
                      : sign * sum;
      value.store_n(target.out + i * out_stride + c, lanes);
    }
  }
}

// The same for an output whose rows are adjacent, its columns out_column apart.
template <typename T>
void add_transposed(const SgemmTarget<T>& target, const T* tile, int64_t out_column, int64_t rows,
                    int64_t columns) {
  constexpr int kWidth = Vec<T>::kWidth;
  const Vec<T> sign = Vec<T>::broadcast(target.sign), zero = Vec<T>::broadcast(0);
  for (int64_t c = 0; c < columns; c += kWidth) {
    for (int64_t i = 0; i < rows; i += kWidth) {
      Vec<T> square[kWidth];
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r)
        square[r] = i + r < rows ? Vec<T>::load(tile + (i + r) * kSgemmPanel + c) : zero;
      transpose(square);
      for (int j = 0; j < kWidth && c + j < columns; ++j) {
        T* at = target.out + (c + j) * out_column + i;
        const Vec<T> start = !target.from         ? zero
                             : target.from_stride ? Vec<T>::load_n(at, rows - i)
                                                  : Vec<T>::broadcast(target.from[c + j]);  // the bias
        fma(sign, square[j], start).store_n(at, rows - i);
      }
    }
  }
}

// A block of the output that is complete: adds the skip connection and applies the activation.
template <typename T>
void finish_block(const SgemmProduct<T>& p, const T* slope, const T* skip, T* out, int64_t rows,
                  int64_t columns) {
  const bool transposed = p.out_column != 1;  // then rows are what a vector goes along
  const int64_t lines = transposed ? columns : rows, length = transposed ? rows : columns;
  const int64_t stride = transposed ? p.out_column : p.out_stride;
  const Vec<T> scale = Vec<T>::broadcast(p.skip_scale);
  for (int64_t c = 0; c < length; c += Vec<T>::kWidth) {
    const int64_t lanes = length - c;
    Vec<T> slopes = Vec<T>::broadcast(slope ? *slope : T(0));
    if (slope && p.slope_step && !transposed) slopes = Vec<T>::load_n(slope + c, lanes);
    for (int64_t i = 0; i < lines; ++i) {
      T* at = out + i * stride + c;
      Vec<T> value = Vec<T>::load_n(at, lanes);
      if (skip) value = fma(scale, Vec<T>::load_n(skip + i * stride + c, lanes), value);
      if (slope && p.slope_step && transposed) slopes = Vec<T>::broadcast(slope[i]);
      if (p.activation == Activation::kRelu) {
        value = relu(value);
      } else if (p.activation != Activation::kNone) {
        value = activate(p.activation, value, slopes);
      }
      value.store_n(at, lanes);
    }
  }
}

// How the epilogue runs in the micro-kernel. Returns false for activations that are no clamp and where
// nothing is left to do.
template <typename T>
bool finish_in_registers(const SgemmProduct<T>& p, const T* skip, SgemmFinish<T>& finish) {
  const bool none = p.activation == Activation::kNone;
  const bool relu = p.activation == Activation::kRelu, relu6 = p.activation == Activation::kRelu6;
  constexpr T kEnd = std::numeric_limits<T>::infinity();
  finish = {skip ? skip : kSgemmZeros<T>, skip ? p.out_stride : 0, skip ? p.skip_scale : T(0),
            none ? -kEnd : T(0), relu6 ? T(6) : kEnd};
  return relu || relu6 || (none && skip);
}

// Fetches a block of the output, or of the skip connection that lies like it, into L1.
template <typename T>
void fetch_lines_of(const SgemmProduct<T>& p, const T* block, int64_t rows, int64_t columns) {
  const bool transposed = p.out_column != 1;
  const int64_t lines = transposed ? columns : rows, length = transposed ? rows : columns;
  const int64_t stride = transposed ? p.out_column : p.out_stride;
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < lines; ++i)
    for (int64_t c = 0; c < length; c += kLine) __builtin_prefetch(block + i * stride + c);
}

// The epilogue of rows [row, row + rows) and columns [column, column + columns) of a part.
template <typename T>
void finish_part(const SgemmProduct<T>& p, const SgemmOutput<T>& part, int64_t row, int64_t column,
                 int64_t rows, int64_t columns) {
  if (p.activation == Activation::kNone && !part.skip) return;
  const int64_t offset = row * p.out_stride + column * p.out_column;
  finish_block(p, part.slope ? part.slope + column * p.slope_step : nullptr,
               part.skip ? part.skip + offset : nullptr, part.data + offset, rows, columns);
}
