// Stage 1: V = B^T d B of a block of tiles, 16 channels at a time, stored as the a panels of the
// micro-kernel.

struct WinogradTile {
  int64_t image, row, col;  // position in units of tiles
};

template <typename T, typename S>
GK_INLINE WinogradTile winograd_tile(const WinogradJob<T, S>& job, int64_t index) {
  const int64_t strip = index / job.tiles_w;
  return {strip / job.tiles_h, strip % job.tiles_h, index % job.tiles_w};
}

// Second direction: `part` is one row of B^T d; stores the taps of that row of V, groups `group` and up.
template <typename T, int m, int group>
GK_INLINE void store_input_taps(const Vec<T> (&part)[m + 2], T* v, int64_t tap_stride) {
  using Transform = InputTransform<m>;
  Vec<T> taps[Transform::kGroupRows];
  Transform::template rows<group>(part, taps);
#pragma GCC unroll 8
  for (int i = 0; i < Transform::kGroupRows; ++i) taps[i].store(v + Transform::kRows[group][i] * tap_stride);
  if constexpr (group + 1 < Transform::kGroups) store_input_taps<T, m, group + 1>(part, v, tap_stride);
}

// First direction, by groups of rows that fit in registers. Loads are repeated for each group: cheaper than
// spilling.
template <typename T, int m, int group>
GK_INLINE void transform_input_vector(const T* d, int64_t row_stride, int64_t pixel_stride, T* v,
                                      int64_t tap_stride) {
  using Transform = InputTransform<m>;
  constexpr int kAlpha = m + 2;
  Vec<T> part[Transform::kGroupRows][kAlpha];
#pragma GCC unroll 8
  for (int col = 0; col < kAlpha; ++col) {
    Vec<T> column[kAlpha], rows[Transform::kGroupRows];
#pragma GCC unroll 8
    for (int row = 0; row < kAlpha; ++row)
      column[row] = Vec<T>::load(d + row * row_stride + col * pixel_stride);
    Transform::template rows<group>(column, rows);
#pragma GCC unroll 8
    for (int i = 0; i < Transform::kGroupRows; ++i) part[i][col] = rows[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < Transform::kGroupRows; ++i) {
    store_input_taps<T, m, 0>(part[i], v + Transform::kRows[group][i] * kAlpha * tap_stride, tap_stride);
  }
  if constexpr (group + 1 < Transform::kGroups) {
    transform_input_vector<T, m, group + 1>(d, row_stride, pixel_stride, v, tap_stride);
  }
}

// One tile of 16 channels at d (channels adjacent).
template <typename T, int m>
GK_INLINE void transform_input_tile(const T* d, int64_t row_stride, int64_t pixel_stride, T* v,
                                    int64_t tap_stride) {
  for (int c = 0; c < 16; c += Vec<T>::kWidth) {
    transform_input_vector<T, m, 0>(d + c, row_stride, pixel_stride, v + c, tap_stride);
  }
}

template <typename T>
GK_INLINE void fill_zero(T* data, int64_t count) {
  for (int64_t i = 0; i < count; ++i) data[i] = 0;
}

// patch[i][j][16] = the input at (y + i, x + j), 0 outside of the map and past the last channel.
template <typename T, int m>
void copy_patch_nhwc(const WinogradConv2dArgs<T>& args, int64_t image, int64_t y, int64_t x, int64_t channel,
                     T* patch) {
  constexpr int kAlpha = m + 2;
  const int64_t channels = args.in_c - channel;
  for (int i = 0; i < kAlpha; ++i) {
    for (int j = 0; j < kAlpha; ++j, patch += 16) {
      const bool inside = y + i >= 0 && y + i < args.h && x + j >= 0 && x + j < args.w;
      if (!inside) {
        fill_zero(patch, 16);
        continue;
      }
      const T* pixel = args.input + ((image * args.h + y + i) * args.w + x + j) * args.in_c + channel;
      for (int c = 0; c < 16; c += Vec<T>::kWidth) Vec<T>::load_n(pixel + c, channels - c).store(patch + c);
    }
  }
}

// Fetches into L2 what a tile has of the map, a line of 16 channels, beyond its neighbour to the left: m
// columns.
template <typename T, int m>
GK_INLINE void fetch_tile(const WinogradConv2dArgs<T>& args, const WinogradTile& tile, int64_t channel) {
  const int64_t y = tile.row * m - args.pad_h, x = tile.col * m - args.pad_w + 2;
  const int64_t top = y > 0 ? y : 0, bottom = y + m + 2 < args.h ? y + m + 2 : args.h;
  const int64_t left = x > 0 ? x : 0, right = x + m < args.w ? x + m : args.w;
  for (int64_t row = top; row < bottom; ++row) {
    const T* pixel = args.input + ((tile.image * args.h + row) * args.w + left) * args.in_c + channel;
    for (int64_t col = left; col < right; ++col, pixel += args.in_c) __builtin_prefetch(pixel, 0, 2);
  }
}

// Channel blocks [begin, end) of all tiles, those of one tile after the other: their lines are neighbours in
// the map. It comes from outside of L2 as a rule, so that it is fetched a tile ahead.
template <typename T, int m>
void transform_input_nhwc(const WinogradJob<T>& job, int64_t block, int64_t begin, int64_t end, T* v,
                          T* stage) {
  constexpr int kAlpha = m + 2;
  const auto& args = job.args;
  const int64_t rows = job.rows(block);
  for (int64_t r = 0; r < rows; ++r) {
    const WinogradTile tile = winograd_tile(job, job.first_tile(block) + r);
    const int64_t y = tile.row * m - args.pad_h, x = tile.col * m - args.pad_w;
    const bool inside = y >= 0 && x >= 0 && y + kAlpha <= args.h && x + kAlpha <= args.w;
    const WinogradTile next = winograd_tile(job, job.first_tile(block) + r + 1);
    const bool fetch = next.image < args.batch;
    for (int64_t channel_block = begin; channel_block < end; ++channel_block) {
      // A tile within the map is read where it lies, any other from a copy with zeros around.
      const int64_t channel = channel_block * 16;
      if (fetch) fetch_tile<T, m>(args, next, channel);
      const T* d = stage;
      int64_t row_stride = kAlpha * 16, pixel_stride = 16;
      if (inside && channel + 16 <= args.in_c) {
        d = args.input + ((tile.image * args.h + y) * args.w + x) * args.in_c + channel;
        row_stride = args.w * args.in_c;
        pixel_stride = args.in_c;
      } else {
        copy_patch_nhwc<T, m>(args, tile.image, y, x, channel, stage);
      }
      transform_input_tile<T, m>(d, row_stride, pixel_stride, v + (channel_block * rows + r) * 16,
                                 job.input_tap_stride());
    }
  }
}

// dst[pixel][16] from 16 rows of `count` pixels, channel_stride apart; channels past `channels` become 0.
template <typename T, typename S>
void interleave_channels(const S* src, int64_t channel_stride, int64_t channels, int64_t count, T* dst) {
  constexpr int kWidth = Vec<T>::kWidth;
  for (int64_t x = 0; x < count; x += kWidth, dst += 16 * kWidth) {
    for (int c = 0; c < 16; c += kWidth) {
      Vec<T> block[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        const int64_t left = c + i < channels ? count - x : 0;
        const S* row = src + (left > 0 ? (c + i) * channel_stride + x : 0);
        block[i] = left >= kWidth ? load_elements(row) : load_elements_n(row, left);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        if (x + i < count) block[i].store(dst + i * 16 + c);
      }
    }
  }
}

// dst[pixel][16] from `count` pixels, pixel_stride apart; channels past `channels` become 0.
template <typename T, typename S>
void copy_channels(const S* src, int64_t pixel_stride, int64_t channels, int64_t count, T* dst) {
  for (int64_t x = 0; x < count; ++x, src += pixel_stride, dst += 16) {
    for (int c = 0; c < 16; c += Vec<T>::kWidth) {
      (channels >= 16 ? load_elements(src + c) : load_elements_n(src + c, channels - c)).store(dst + c);
    }
  }
}

// stage[i][j][16] = the input at (y + i, x + j) for a strip of m + 2 rows and `width` columns, 0 outside of
// the map.
template <typename T, int m, typename S>
void stage_strip(const WinogradConv2dArgs<T, S>& args, int64_t image, int64_t y, int64_t x, int64_t width,
                 int64_t channel, T* stage) {
  const int64_t begin = x < 0 ? (-x < width ? -x : width) : 0;
  const int64_t inside = args.w - x;
  const int64_t end = inside < begin ? begin : inside < width ? inside : width;
  for (int i = 0; i < m + 2; ++i, stage += width * 16) {
    if (y + i < 0 || y + i >= args.h) {
      fill_zero(stage, width * 16);
      continue;
    }
    fill_zero(stage, begin * 16);
    if (args.input_layout == MapLayout::kNhwc) {
      const S* row = args.input + ((image * args.h + y + i) * args.w + x + begin) * args.in_c + channel;
      copy_channels(row, args.in_c, args.in_c - channel, end - begin, stage + begin * 16);
    } else {
      const S* row = args.input + ((image * args.in_c + channel) * args.h + y + i) * args.w + x + begin;
      interleave_channels(row, args.h * args.w, args.in_c - channel, end - begin, stage + begin * 16);
    }
    fill_zero(stage + end * 16, (width - end) * 16);
  }
}

// By way of the stage: maps whose channels are not adjacent, and those of 16-bit numbers, of which the tiles
// of a strip share 2 in m + 2 columns, so that each is converted once and not twice.
template <typename T, int m, typename S>
void transform_input_strips(const WinogradJob<T, S>& job, int64_t block, int64_t channel_block, T* v,
                            T* stage) {
  const auto& args = job.args;
  const int64_t rows = job.rows(block);
  for (int64_t r = 0; r < rows;) {  // strips of tiles in one row of tiles
    const WinogradTile tile = winograd_tile(job, job.first_tile(block) + r);
    const int64_t strip = job.tiles_w - tile.col < rows - r ? job.tiles_w - tile.col : rows - r;
    const int64_t width = strip * m + 2;
    stage_strip<T, m>(args, tile.image, tile.row * m - args.pad_h, tile.col * m - args.pad_w, width,
                      channel_block * 16, stage);
    for (int64_t i = 0; i < strip; ++i, ++r, v += 16) {
      transform_input_tile<T, m>(stage + i * m * 16, width * 16, 16, v, job.input_tap_stride());
    }
  }
}

// Of a tile in NHWC, transformed together; more would write to more pages than the TLB holds.
inline constexpr int64_t kChannelBlocks = 4;

// v: [tap][channel block][row][16] of `block`; writes the channel blocks [begin, end).
template <typename T, int m, typename S>
void winograd_input(const WinogradJob<T, S>& job, int64_t block, int64_t begin, int64_t end, T* v, T* stage) {
  if constexpr (std::is_same_v<T, S>) {
    if (job.args.input_layout == MapLayout::kNhwc) {
      for (int64_t first = begin; first < end; first += kChannelBlocks) {
        const int64_t last = end - first < kChannelBlocks ? end : first + kChannelBlocks;
        transform_input_nhwc<T, m>(job, block, first, last, v, stage);
      }
      return;
    }
  }
  for (int64_t channel_block = begin; channel_block < end; ++channel_block) {
    transform_input_strips<T, m>(job, block, channel_block, v + channel_block * job.rows(block) * 16, stage);
  }
}
