// Stage 3: Y = A^T P A of a block of tiles and a panel of output channels, with bias, skip and activation.

// Second direction: `part` is one row of A^T P; stores the m pixels of that row, groups `group` and up.
template <typename T, int m, bool kRelu, int group, typename S>
GK_INLINE void store_output_pixels(const Vec<T> (&part)[m + 2], Vec<T> bias, S* out, int64_t pixel_stride) {
  using Transform = OutputTransform<m>;
  Vec<T> pixels[Transform::kGroupRows];
  Transform::template rows<group>(part, pixels);
#pragma GCC unroll 8
  for (int i = 0; i < Transform::kGroupRows; ++i) {
    const Vec<T> value = pixels[i] + bias;
    store_elements(kRelu ? relu(value) : value, out + Transform::kRows[group][i] * pixel_stride);
  }
  if constexpr (group + 1 < Transform::kGroups)
    store_output_pixels<T, m, kRelu, group + 1>(part, bias, out, pixel_stride);
}

// out[i][j] = bias + (A^T P A)[i][j] for one vector of channels of one tile; p: [tap] with tap_stride.
template <typename T, int m, bool kRelu, int group, typename S>
GK_INLINE void transform_output_vector(const T* p, int64_t tap_stride, Vec<T> bias, S* out,
                                       int64_t row_stride, int64_t pixel_stride) {
  using Transform = OutputTransform<m>;
  constexpr int kAlpha = m + 2;
  Vec<T> part[Transform::kGroupRows][kAlpha];
#pragma GCC unroll 8
  for (int col = 0; col < kAlpha; ++col) {
    Vec<T> column[kAlpha], rows[Transform::kGroupRows];
#pragma GCC unroll 8
    for (int row = 0; row < kAlpha; ++row) column[row] = Vec<T>::load(p + (row * kAlpha + col) * tap_stride);
    Transform::template rows<group>(column, rows);
#pragma GCC unroll 8
    for (int i = 0; i < Transform::kGroupRows; ++i) part[i][col] = rows[i];
  }
#pragma GCC unroll 8
  for (int i = 0; i < Transform::kGroupRows; ++i) {
    store_output_pixels<T, m, kRelu, 0>(part[i], bias, out + Transform::kRows[group][i] * row_stride,
                                        pixel_stride);
  }
  if constexpr (group + 1 < Transform::kGroups) {
    transform_output_vector<T, m, kRelu, group + 1>(p, tap_stride, bias, out, row_stride, pixel_stride);
  }
}

// 16 channels from `channel` of one tile: bias is the padded bias [16].
template <typename T, int m, bool kRelu, typename S>
GK_INLINE void transform_output_tile(const T* p, int64_t tap_stride, const T* bias, S* out,
                                     int64_t row_stride, int64_t pixel_stride) {
  for (int c = 0; c < 16; c += Vec<T>::kWidth) {
    transform_output_vector<T, m, kRelu, 0>(p + c, tap_stride, Vec<T>::load(bias + c), out + c, row_stride,
                                            pixel_stride);
  }
}

// Pixels of a tile that lie in the map go from stage [m][m][16] to out.
template <typename T, int m, typename S>
void finish_tile_nhwc(const WinogradConv2dArgs<T, S>& args, const HalfPanel<T>& half, int64_t image,
                      int64_t y, int64_t x, const T* stage) {
  const int64_t out_h = args.out_h(), out_w = args.out_w();
  for (int64_t i = 0; i < m && y + i < out_h; ++i) {
    for (int64_t j = 0; j < m && x + j < out_w; ++j) {
      const int64_t pixel = ((image * out_h + y + i) * out_w + x + j) * args.out_c + half.channel;
      for (int64_t c = 0; c < half.channels; c += Vec<T>::kWidth) {
        const int64_t lanes = half.channels - c;
        const S* skip = args.skip ? args.skip + pixel + c : nullptr;
        const Vec<T> sum = Vec<T>::load(stage + (i * m + j) * 16 + c), slope = Vec<T>::load(half.slope + c);
        store_elements_n(finish(args, sum, skip, lanes, slope), args.out + pixel + c, lanes);
      }
    }
  }
}

template <typename T, int m, typename S>
void transform_output_nhwc(const WinogradJob<T, S>& job, int64_t block, const HalfPanel<T>& half,
                           const T* products, int64_t width, T* stage) {
  const auto& args = job.args;
  const int64_t out_h = args.out_h(), out_w = args.out_w(), rows = job.rows(block);
  const bool relu = args.activation == Activation::kRelu;
  const bool direct = half.channels == 16 && !args.skip && (relu || args.activation == Activation::kNone);
  for (int64_t r = 0; r < rows; ++r, products += width) {
    const WinogradTile tile = winograd_tile(job, job.first_tile(block) + r);
    const int64_t y = tile.row * m, x = tile.col * m;
    if (direct && y + m <= out_h && x + m <= out_w) {
      S* out = args.out + ((tile.image * out_h + y) * out_w + x) * args.out_c + half.channel;
      const auto transform =
          relu ? &transform_output_tile<T, m, true, S> : &transform_output_tile<T, m, false, S>;
      transform(products, job.product_tap_stride(), half.bias, out, out_w * args.out_c, args.out_c);
    } else {
      transform_output_tile<T, m, false>(products, job.product_tap_stride(), half.bias, stage, m * 16, 16);
      finish_tile_nhwc<T, m>(args, half, tile.image, y, x, stage);
    }
  }
}

template <typename T, int m, typename S>
void transform_output_nchw(const WinogradJob<T, S>& job, int64_t block, const HalfPanel<T>& half,
                           const T* products, int64_t width, T* stage) {
  const auto& args = job.args;
  const int64_t out_h = args.out_h(), out_w = args.out_w(), rows = job.rows(block);
  for (int64_t r = 0; r < rows;) {  // strips of tiles in one row of tiles
    const WinogradTile tile = winograd_tile(job, job.first_tile(block) + r);
    const int64_t strip = job.tiles_w - tile.col < rows - r ? job.tiles_w - tile.col : rows - r;
    for (int64_t i = 0; i < strip; ++i, ++r, products += width) {
      transform_output_tile<T, m, false>(products, job.product_tap_stride(), half.bias, stage + i * m * 16,
                                         strip * m * 16, 16);
    }
    const int64_t y = tile.row * m, x = tile.col * m;
    const int64_t count = out_w - x < strip * m ? out_w - x : strip * m;
    for (int64_t i = 0; i < m && y + i < out_h; ++i) {
      const int64_t offset = ((tile.image * args.out_c + half.channel) * out_h + y + i) * out_w + x;
      finish_pixels_nchw(args, half, offset, out_h * out_w, count, stage + i * strip * m * 16, 16);
    }
  }
}

// products: [tap][row][width of the panel] of `block` and `panel`.
template <typename T, int m, typename S>
void winograd_output(const WinogradJob<T, S>& job, int64_t panel, int64_t block, const T* products,
                     T* stage) {
  const int64_t width = job.panel_width(panel);
  for (int64_t c = 0; c < width && panel * kWinogradPanel + c < job.args.out_c; c += 16) {
    const HalfPanel<T> half(job.args, panel * kWinogradPanel + c, job.args.out_c);
    if (job.args.out_layout == MapLayout::kNhwc) {
      transform_output_nhwc<T, m>(job, block, half, products + c, width, stage);
    } else {
      transform_output_nchw<T, m>(job, block, half, products + c, width, stage);
    }
  }
}
