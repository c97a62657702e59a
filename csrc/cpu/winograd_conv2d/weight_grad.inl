// The weight gradient of winograd_conv2d for one instruction set: transformed tiles of grad, sums of products
// over tiles, and the way back to 3x3 filters. The transformed tiles of input are those of input.inl.
#include "cpu/map_elements.inl"
#include "cpu/winograd_conv2d/transforms.inl"
#include "cpu/winograd_conv2d/input.inl"

// One-dimensional A of winograd_transforms.h, whose column i holds powers of point i: rows<group>(y, o) sets
// o[i] = row kRows[group][i] of A y, y [m]. Group 0 is the points 0 and infinity, each other group a pair
// +-p.
template <int m>
struct GradTransform {
  static constexpr int kGroups = m / 2 + 1;
  static constexpr int row(int group, int i) { return group == 0 ? i * (m + 1) : 2 * group - 1 + i; }

  template <int group, typename V>
  static GK_INLINE void rows(const V (&y)[m], V (&o)[2]) {
    if constexpr (group == 0) {
      o[0] = y[0];
      o[1] = y[m - 1];
    } else {
      constexpr double p = WinogradPoints<m>::kPairs[group - 1];
      V even = y[m - 2], odd = y[m - 1];
#pragma GCC unroll 4
      for (int k = m - 4; k >= 0; k -= 2) {
        even = plus_times(y[k], p * p, even);
        odd = plus_times(y[k + 1], p * p, odd);
      }
      o[0] = plus_times(even, p, odd);
      o[1] = minus_times(even, p, odd);
    }
  }
};

// One-dimensional G^T: w [3] from u [m + 2]. Rows of G that belong to +-p share their factors but for a sign.
template <int m, typename V>
GK_INLINE void filter_rows(const V (&u)[m + 2], V (&w)[3]) {
  constexpr auto& kG = kWinograd<m>.g;
  const V first = u[1] - u[2];
  w[0] = times(kG[0][0], u[0]);
  w[1] = times(kG[1][1], first);
  w[2] = u[m + 1];
#pragma GCC unroll 4
  for (int i = 1; i <= m; i += 2) {
    const V sum = u[i] + u[i + 1];
    w[0] = plus_times(w[0], kG[i][0], sum);
    w[2] = plus_times(w[2], kG[i][2], sum);
    if (i > 1) w[1] = plus_times(w[1], kG[i][1], u[i] - u[i + 1]);
  }
}

// Stage 1b: Z = A dY A^T.

// Second direction: `part` is one row of A dY; stores the taps of that row of Z, groups `group` and up.
template <typename T, int m, int group>
GK_INLINE void store_grad_taps(const Vec<T> (&part)[m], T* z, int64_t tap_stride) {
  using Transform = GradTransform<m>;
  Vec<T> taps[2];
  Transform::template rows<group>(part, taps);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) taps[i].store(z + Transform::row(group, i) * tap_stride);
  if constexpr (group + 1 < Transform::kGroups) store_grad_taps<T, m, group + 1>(part, z, tap_stride);
}

// First direction, a pair of rows at a time.
template <typename T, int m, int group>
GK_INLINE void transform_grad_vector(const T* y, int64_t row_stride, int64_t pixel_stride, T* z,
                                     int64_t tap_stride) {
  using Transform = GradTransform<m>;
  Vec<T> part[2][m];
#pragma GCC unroll 4
  for (int col = 0; col < m; ++col) {
    Vec<T> column[m], rows[2];
#pragma GCC unroll 4
    for (int row = 0; row < m; ++row) column[row] = Vec<T>::load(y + row * row_stride + col * pixel_stride);
    Transform::template rows<group>(column, rows);
    part[0][col] = rows[0];
    part[1][col] = rows[1];
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    store_grad_taps<T, m, 0>(part[i], z + Transform::row(group, i) * (m + 2) * tap_stride, tap_stride);
  }
  if constexpr (group + 1 < Transform::kGroups) {
    transform_grad_vector<T, m, group + 1>(y, row_stride, pixel_stride, z, tap_stride);
  }
}

// One tile of 16 channels at y (channels adjacent).
template <typename T, int m>
GK_INLINE void transform_grad_tile(const T* y, int64_t row_stride, int64_t pixel_stride, T* z,
                                   int64_t tap_stride) {
  for (int c = 0; c < 16; c += Vec<T>::kWidth) {
    transform_grad_vector<T, m, 0>(y + c, row_stride, pixel_stride, z + c, tap_stride);
  }
}

// The tiles of `block` of 16 channels from `channel`; z: [tap][tile][width]. A tile has m pixels and no
// border, which is what copy_patch_nhwc and stage_strip take for a tile of m - 2.
template <typename T, int m>
void transform_grad_nhwc(const WinogradGradJob<T>& job, int64_t block, int64_t channel, int64_t width, T* z,
                         T* stage) {
  const auto& args = job.grad.args;
  const bool full = channel + 16 <= args.in_c;
  for (int64_t r = 0; r < job.grad.rows(block); ++r, z += width) {
    const WinogradTile tile = winograd_tile(job.grad, job.grad.first_tile(block) + r);
    const int64_t y = tile.row * m, x = tile.col * m;
    if (full && y + m <= args.h && x + m <= args.w) {
      const T* source = args.input + ((tile.image * args.h + y) * args.w + x) * args.in_c + channel;
      transform_grad_tile<T, m>(source, args.w * args.in_c, args.in_c, z, job.z_tap_stride());
    } else {
      copy_patch_nhwc<T, m - 2>(args, tile.image, y, x, channel, stage);
      transform_grad_tile<T, m>(stage, m * 16, 16, z, job.z_tap_stride());
    }
  }
}

// By way of the stage, as transform_input_strips.
template <typename T, int m, typename S>
void transform_grad_strips(const WinogradGradJob<T, S>& job, int64_t block, int64_t channel, int64_t width,
                           T* z, T* stage) {
  const int64_t rows = job.grad.rows(block);
  for (int64_t r = 0; r < rows;) {  // strips of tiles in one row of tiles
    const WinogradTile tile = winograd_tile(job.grad, job.grad.first_tile(block) + r);
    const int64_t strip = job.grad.tiles_w - tile.col < rows - r ? job.grad.tiles_w - tile.col : rows - r;
    stage_strip<T, m - 2>(job.grad.args, tile.image, tile.row * m, tile.col * m, strip * m, channel, stage);
    for (int64_t i = 0; i < strip; ++i, ++r, z += width) {
      transform_grad_tile<T, m>(stage + i * m * 16, strip * m * 16, 16, z, job.z_tap_stride());
    }
  }
}

// z: [tap][tile][width of the panel] of the chunk, at the first tile of `block`.
template <typename T, int m, typename S>
void winograd_grad_output(const WinogradGradJob<T, S>& job, int64_t block, int64_t panel, T* z, T* stage) {
  const int64_t width = job.panel_width(panel);
  const bool nhwc = job.grad.args.input_layout == MapLayout::kNhwc;
  for (int64_t c = 0; c < width; c += 16) {
    const int64_t channel = panel * kWinogradPanel + c;
    if constexpr (std::is_same_v<T, S>) {
      if (nhwc) {
        transform_grad_nhwc<T, m>(job, block, channel, width, z + c, stage);
        continue;
      }
    }
    transform_grad_strips<T, m>(job, block, channel, width, z + c, stage);
  }
}

// Stage 2: sums[tap] += V[tap]^T Z[tap].

// Rows (input channels) and vectors of the register block: both divide what a and b hold side by side, and
// leave room for a row of b and a broadcast.
inline constexpr int kGradRows = GK_ISA_WIDTH == 16 ? 8 : 4;
inline constexpr int kGradVecs = GK_ISA_WIDTH == 1 ? 4 : 2;
static_assert(16 % kGradRows == 0);

// Tiles for which a panel of z, 16 KiB of floats, stays in L1 while the input channels pass by.
inline constexpr int64_t kGradDepth = 128;

// a: [depth][16], b: [depth][kWidth], sums: [kGradRows][kWidth], of which kVecs vectors are added to.
template <typename T, int kVecs, int kWidth>
void add_products(const T* a, const T* b, int64_t depth, T* sums) {
  Vec<T> sum[kGradRows][kVecs];
#pragma GCC unroll 8
  for (int i = 0; i < kGradRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) sum[i][j] = Vec<T>::load(sums + i * kWidth + j * Vec<T>::kWidth);

#pragma GCC unroll 4
  for (; depth > 0; --depth, a += 16, b += kWidth) {
    Vec<T> b_row[kVecs];
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) b_row[j] = Vec<T>::load(b + j * Vec<T>::kWidth);
#pragma GCC unroll 8
    for (int i = 0; i < kGradRows; ++i) {
      const Vec<T> a_value = Vec<T>::broadcast(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < kVecs; ++j) sum[i][j] = fma(a_value, b_row[j], sum[i][j]);
    }
  }

#pragma GCC unroll 8
  for (int i = 0; i < kGradRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) sum[i][j].store(sums + i * kWidth + j * Vec<T>::kWidth);
}

// `tiles` of one panel of z and of the input blocks [begin, end), whose first tile v and z point to; sums:
// [input block][tap][16][width]. A panel holds `chunk_tiles` tiles.
template <typename T, int kWidth, typename S>
void multiply_grad(const WinogradGradJob<T, S>& job, const WinogradGradSlice& slice, const T* v, const T* z,
                   T* sums) {
  constexpr int kVecs = kGradVecs * Vec<T>::kWidth <= kWidth ? kGradVecs : 1;
  constexpr int kStep = kVecs * Vec<T>::kWidth;
  for (int64_t tap = 0; tap < job.taps; ++tap, v += job.v_tap_stride(), z += job.z_tap_stride()) {
    for (int64_t first = 0; first < slice.tiles; first += kGradDepth) {
      const int64_t depth = slice.tiles - first < kGradDepth ? slice.tiles - first : kGradDepth;
      for (int64_t block = slice.begin; block < slice.end; ++block) {
        const T* a = v + (block * slice.chunk_tiles + first) * 16;
        T* out = sums + ((block - slice.begin) * job.taps + tap) * 16 * kWidth;
        for (int64_t i = 0; i < job.in_channels(block); i += kGradRows)
          for (int j = 0; j < kWidth; j += kStep)
            add_products<T, kVecs, kWidth>(a + i, z + first * kWidth + j, depth, out + i * kWidth + j);
      }
    }
  }
}

template <typename T, typename S>
void winograd_grad_multiply(const WinogradGradJob<T, S>& job, const WinogradGradSlice& slice, const T* v,
                            const T* z, T* sums) {
  const bool wide = job.panel_width(slice.panel) == kWinogradPanel;
  (wide ? &multiply_grad<T, kWinogradPanel, S> : &multiply_grad<T, kWinogradHalfPanel, S>)(job, slice, v, z,
                                                                                           sums);
}

// Stage 3: G^T U G of 16 input channels and a vector of output channels.

// filters[9][vector]: from the sum of `shares` sums at u, [tap] with tap_stride.
template <typename T, int m>
GK_INLINE void transform_filter(const T* u, int64_t tap_stride, int64_t shares, int64_t share_stride,
                                T* filters, int64_t stride) {
  constexpr int kAlpha = m + 2;
  Vec<T> part[3][kAlpha];
#pragma GCC unroll 8
  for (int col = 0; col < kAlpha; ++col) {
    Vec<T> column[kAlpha], rows[3];
#pragma GCC unroll 8
    for (int row = 0; row < kAlpha; ++row) {
      const T* at = u + (row * kAlpha + col) * tap_stride;
      column[row] = Vec<T>::load(at);
      for (int64_t share = 1; share < shares; ++share)
        column[row] = column[row] + Vec<T>::load(at + share * share_stride);
    }
    filter_rows<m>(column, rows);
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) part[i][col] = rows[i];
  }
#pragma GCC unroll 3
  for (int i = 0; i < 3; ++i) {
    Vec<T> row[3];
    filter_rows<m>(part[i], row);
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) row[j].store(filters + (i * 3 + j) * stride);
  }
}

// From filters [16 * 9][kWidth channels] to grad_weight, `channels` output and `count` / 9 input channels of
// it.
template <typename T>
void store_filters(const T* filters, int64_t count, int64_t channels, T* grad_weight,
                   int64_t channel_stride) {
  constexpr int kWidth = Vec<T>::kWidth;
  for (int64_t first = 0; first < count; first += kWidth) {
    Vec<T> block[kWidth];
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) block[i] = Vec<T>::load(filters + (first + i) * kWidth);
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) {
      if (i < channels) block[i].store_n(grad_weight + i * channel_stride + first, count - first);
    }
  }
}

// sums: of one panel and one block of input channels, `shares` of them share_stride apart.
template <typename T, int m, typename S>
void winograd_grad_filters(const WinogradGradJob<T, S>& job, int64_t panel, int64_t block, const T* sums,
                           int64_t shares, int64_t share_stride) {
  constexpr int kVec = Vec<T>::kWidth;
  const int64_t width = job.panel_width(panel), in_c = job.input.args.in_c, out_c = job.grad.args.in_c;
  alignas(64) T filters[16 * 9 * kVec];  // [input channel][9][vector of output channels]
  for (int64_t j = 0; j < width && panel * kWinogradPanel + j < out_c; j += kVec) {
    const int64_t k = panel * kWinogradPanel + j, in_channels = job.in_channels(block);
    for (int64_t i = 0; i < in_channels; ++i) {
      transform_filter<T, m>(sums + i * width + j, 16 * width, shares, share_stride, filters + i * 9 * kVec,
                             kVec);
    }
    store_filters(filters, in_channels * 9, out_c - k, job.grad_weight + (k * in_c + block * 16) * 9,
                  in_c * 9);
  }
}

template <typename T, typename S>
WinogradGradStages<T, S> winograd_grad_stages(int tile) {
  if (tile == 2) {
    return {&winograd_input<T, 2, S>, &winograd_grad_output<T, 2, S>, &winograd_grad_multiply<T, S>,
            &winograd_grad_filters<T, 2, S>};
  }
  return {&winograd_input<T, 4, S>, &winograd_grad_output<T, 4, S>, &winograd_grad_multiply<T, S>,
          &winograd_grad_filters<T, 4, S>};
}
