// Tiles of channels_last maps: for a vector of channels at a time, kTileRows x kTileColumns sums stay in
// registers. Each input value under the tile is loaded once and multiplied by all taps that see it, and the
// taps of a filter row are loaded once for the tile. Channels are the inner loop, so memory is read in long
// pieces. For filters 3, 5 or 7 wide, stride 1 or 2, without dilation.

inline constexpr int kTileRows =
    GK_ISA_WIDTH == 16 || GK_ISA_WIDTH == 4 ? 2 : 1;  // 16 registers hold no second row

// A unit of work: rows [y, y + rows) of the output of image n, channels [c_begin, c_end).
struct PixelBand {
  int64_t n, y, rows, c_begin, c_end;
};

// Output columns [x, x + kTileColumns), of which [first, last) are stored. valid: bit i tells whether input
// column in_x + i lies in the map.
struct TileColumns {
  int64_t x, first, last, in_x;
  uint32_t valid;
  bool whole;  // all are stored and all input columns lie in the map
};

// The columns from `start` on; a tile that would reach past the map begins earlier and stores the rest alone.
template <typename T, typename S>
TileColumns tile_columns(const DepthwiseJob<T, S>& job, int64_t start) {
  const auto& args = job.args;
  TileColumns columns;
  columns.x = std::max<int64_t>(0, std::min(start, job.out_w - kTileColumns));
  columns.first = start - columns.x;
  columns.last = std::min(kTileColumns, job.out_w - columns.x);
  columns.in_x = columns.x * args.stride_w - args.pad_w;
  const int64_t count = (kTileColumns - 1) * args.stride_w + args.filter.kernel_w;
  columns.valid = 0;
  for (int64_t i = 0; i < count; ++i) {
    columns.valid |= uint32_t(columns.in_x + i >= 0 && columns.in_x + i < args.w) << i;
  }
  const bool inside = columns.valid == (uint32_t{1} << count) - 1;
  columns.whole = inside && columns.first == 0 && columns.last == kTileColumns;
  return columns;
}

// One row of sums of a tile += the products of one input row with one filter row. kBoth: also a second row of
// sums, whose filter row is `other`. kEdge: columns and channels may be missing.
template <typename T, typename S, int kWidth, int kStride, bool kEdge, bool kBoth>
GK_INLINE void add_filter_row(const S* p, int64_t pixel, int64_t lanes, uint32_t valid, const T* taps,
                              const T* other, int64_t tap_step, Vec<T> (&sum)[kTileColumns],
                              Vec<T> (&next)[kTileColumns]) {
  Vec<T> w[kWidth], v[kWidth];
#pragma GCC unroll 8
  for (int j = 0; j < kWidth; ++j) {
    w[j] = Vec<T>::load(taps + j * tap_step);
    if (kBoth) v[j] = Vec<T>::load(other + j * tap_step);
  }
#pragma GCC unroll 32
  for (int i = 0; i < (kTileColumns - 1) * kStride + kWidth; ++i) {
    if (kEdge && !(valid >> i & 1)) continue;
    const Vec<T> value = kEdge ? load_elements_n(p + i * pixel, lanes) : load_elements(p + i * pixel);
#pragma GCC unroll 8
    for (int j = 0; j < kWidth; ++j) {
      const int x = (i - j) / kStride;
      if (i < j || (i - j) % kStride || x >= kTileColumns) continue;
      sum[x] = fma(value, w[j], sum[x]);
      if (kBoth) next[x] = fma(value, v[j], next[x]);
    }
  }
}

// The sums of a tile go to the output. kEdge: columns and channels may be missing.
template <typename T, typename S, bool kEdge, int kRows>
GK_INLINE void store_tile(const DepthwiseJob<T, S>& job, const PixelBand& band, const TileColumns& columns,
                          int64_t c, int64_t lanes, const Vec<T> (&sum)[kRows][kTileColumns]) {
  const int64_t channels = job.args.filter.channels;
  const int64_t at = ((band.n * job.out_h + band.y) * job.out_w + columns.x) * channels + c;
  const Vec<T> low = Vec<T>::broadcast(job.low), high = Vec<T>::broadcast(job.high);
#pragma GCC unroll 2
  for (int y = 0; y < kRows; ++y) {
    S* out = job.args.out + at + y * job.out_w * channels;
#pragma GCC unroll 8
    for (int x = 0; x < kTileColumns; ++x) {
      const Vec<T> value = min(high, max(low, sum[y][x]));  // in this order a NaN comes through
      if (!kEdge) {
        store_elements(value, out + x * channels);
      } else if (x >= columns.first && x < columns.last) {
        store_elements_n(value, out + x * channels, lanes);
      }
    }
  }
}

// The slopes of the vector of channels at c.
template <typename T, typename Args>
GK_INLINE Vec<T> slopes_of(const Args& args, int64_t c, int64_t lanes) {
  if (args.activation_params <= 1)
    return Vec<T>::broadcast(args.activation_params ? *args.activation_param : 0);
  return Vec<T>::load_n(args.activation_param + c, lanes);
}

// The same with a skip connection or an activation that takes time, by way of memory: inside of an unrolled
// tile the call would cost every sum its register.
template <typename T, typename S, int kRows>
__attribute__((noinline)) void finish_tile(const DepthwiseJob<T, S>& job, const PixelBand& band,
                                           const TileColumns& columns, int64_t c, int64_t lanes,
                                           const Vec<T> (&sum)[kRows][kTileColumns]) {
  const auto& args = job.args;
  const int64_t channels = args.filter.channels;
  const Vec<T> slope = slopes_of<T>(args, c, lanes);
  for (int y = 0; y < kRows; ++y) {
    for (int64_t x = columns.first; x < columns.last; ++x) {
      const int64_t at = ((band.n * job.out_h + band.y + y) * job.out_w + columns.x + x) * channels + c;
      const S* skip = args.skip ? args.skip + at : nullptr;
      store_elements_n(finish(args, sum[y][x], skip, lanes, slope), args.out + at, lanes);
    }
  }
}

// One tile, channels [begin, end).
template <typename T, typename S, int kWidth, int kStride, bool kEdge, int kRows>
void run_tile(const DepthwiseJob<T, S>& job, const PixelBand& band, const TileColumns& columns, int64_t begin,
              int64_t end) {
  const auto& args = job.args;
  const int64_t channels = args.filter.channels, tap_step = args.filter.padded_channels();
  const int64_t in_y = band.y * args.stride_h - args.pad_h, kernel_h = args.filter.kernel_h;
  // Input rows under the tile, counted from in_y, that lie in the map.
  const int64_t top = std::max<int64_t>(0, -in_y);
  const int64_t bottom = std::min((kRows - 1) * kStride + kernel_h, args.h - in_y);
  const int64_t both = std::min(std::max<int64_t>(top, kRows == 1 ? kernel_h : kStride), bottom);
  const int64_t below = std::min(std::max(both, kernel_h), bottom);
  const int64_t row = args.w * channels, filter_row = kWidth * tap_step, second = kStride * filter_row;
  const S* corner = args.input + (band.n * args.h + in_y) * row + columns.in_x * channels;
  for (int64_t c = begin; c < end; c += Vec<T>::kWidth) {
    const int64_t lanes = end - c;
    const Vec<T> bias = !args.bias ? Vec<T>::broadcast(0)
                        : kEdge    ? Vec<T>::load_n(args.bias + c, lanes)
                                   : Vec<T>::load(args.bias + c);
    Vec<T> sum[kRows][kTileColumns];
#pragma GCC unroll 16
    for (int i = 0; i < kRows * kTileColumns; ++i) sum[i / kTileColumns][i % kTileColumns] = bias;
    const S* p = corner + c;
    const T* taps = args.packed + c;
    Vec<T>(&last)[kTileColumns] = sum[kRows - 1];
    for (int64_t r = top; r < both; ++r) {
      add_filter_row<T, S, kWidth, kStride, kEdge, false>(
          p + r * row, channels, lanes, columns.valid, taps + r * filter_row, taps, tap_step, sum[0], last);
    }
    if (kRows > 1) {
      for (int64_t r = both; r < below; ++r) {
        add_filter_row<T, S, kWidth, kStride, kEdge, true>(
            p + r * row, channels, lanes, columns.valid, taps + r * filter_row,
            taps + r * filter_row - second, tap_step, sum[0], last);
      }
      for (int64_t r = below; r < bottom; ++r) {
        add_filter_row<T, S, kWidth, kStride, kEdge, false>(p + r * row, channels, lanes, columns.valid,
                                                            taps + r * filter_row - second, taps, tap_step,
                                                            last, sum[0]);
      }
    }
    if (job.clamped) {
      store_tile<T, S, kEdge>(job, band, columns, c, lanes, sum);
    } else {
      Vec<T> stored[kRows][kTileColumns];  // so that the sums themselves have no address
#pragma GCC unroll 16
      for (int i = 0; i < kRows * kTileColumns; ++i) {
        stored[i / kTileColumns][i % kTileColumns] = sum[i / kTileColumns][i % kTileColumns];
      }
      finish_tile(job, band, columns, c, lanes, stored);
    }
  }
}

template <typename T, typename S, int kWidth, int kStride, int kRows>
void run_tile_row(const DepthwiseJob<T, S>& job, const PixelBand& band) {
  const int64_t full =
      band.c_begin + (band.c_end - band.c_begin) / Vec<T>::kWidth * Vec<T>::kWidth;  // vectors of channels
  for (int64_t x = 0; x < job.out_w; x += kTileColumns) {
    const TileColumns columns = tile_columns(job, x);
    if (columns.whole) {
      run_tile<T, S, kWidth, kStride, false, kRows>(job, band, columns, band.c_begin, full);
      if (full < band.c_end)
        run_tile<T, S, kWidth, kStride, true, kRows>(job, band, columns, full, band.c_end);
    } else {
      run_tile<T, S, kWidth, kStride, true, kRows>(job, band, columns, band.c_begin, band.c_end);
    }
  }
}

template <typename T, typename S, int kWidth, int kStride>
void run_tiles_of(const DepthwiseJob<T, S>& job, const PixelBand& band) {
  if (kTileRows == 2 && band.rows == 2) return run_tile_row<T, S, kWidth, kStride, kTileRows>(job, band);
  run_tile_row<T, S, kWidth, kStride, 1>(job, band);
}

template <typename T, typename S, int kWidth>
void run_tiles_of(const DepthwiseJob<T, S>& job, const PixelBand& band) {
  job.args.stride_w == 1 ? run_tiles_of<T, S, kWidth, 1>(job, band)
                         : run_tiles_of<T, S, kWidth, 2>(job, band);
}

template <typename T, typename S>
void run_tiles(const DepthwiseJob<T, S>& job, const PixelBand& band) {
  switch (job.args.filter.kernel_w) {
    case 3:
      return run_tiles_of<T, S, 3>(job, band);
    case 5:
      return run_tiles_of<T, S, 5>(job, band);
    default:
      return run_tiles_of<T, S, 7>(job, band);
  }
}
