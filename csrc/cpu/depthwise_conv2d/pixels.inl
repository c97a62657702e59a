// channels_last maps under any filter, stride and dilation: kTileColumns pixels of a row at a time, each tap
// loaded for all of them and each input value for each tap. At half the speed of tiles.inl, as the loads
// bind.

// Sums of `count` pixels of output row y from column x on, for the vector of channels at c.
template <typename T, typename S>
GK_INLINE void sum_pixels(const DepthwiseJob<T, S>& job, const PixelBand& band, int64_t x, int64_t count,
                          int64_t c, Vec<T> (&sum)[1][kTileColumns]) {
  const auto& args = job.args;
  const int64_t channels = args.filter.channels, lanes = band.c_end - c;
  const T* taps = args.packed + c;
  for (int64_t i = 0; i < args.filter.kernel_h; ++i) {
    const int64_t in_y = band.y * args.stride_h + i * args.dilation_h - args.pad_h;
    if (in_y < 0 || in_y >= args.h || args.w == 0) continue;
    const S* row = args.input + (band.n * args.h + in_y) * args.w * channels + c;
    for (int64_t j = 0; j < args.filter.kernel_w; ++j) {
      const Vec<T> w = Vec<T>::load(taps + (i * args.filter.kernel_w + j) * args.filter.padded_channels());
      const int64_t in_x = x * args.stride_w + j * args.dilation_w - args.pad_w;
#pragma GCC unroll 8
      for (int64_t k = 0; k < kTileColumns; ++k) {
        const int64_t column = in_x + k * args.stride_w;
        if (k >= count || column < 0 || column >= args.w) continue;
        sum[0][k] = fma(load_elements_n(row + column * channels, lanes), w, sum[0][k]);
      }
    }
  }
}

template <typename T, typename S>
void run_pixels(const DepthwiseJob<T, S>& job, const PixelBand& band) {
  for (int64_t x = 0; x < job.out_w; x += kTileColumns) {
    const TileColumns columns{x, 0, std::min(kTileColumns, job.out_w - x), 0, 0, false};
    for (int64_t c = band.c_begin; c < band.c_end; c += Vec<T>::kWidth) {
      const int64_t lanes = band.c_end - c;
      const Vec<T> bias = job.args.bias ? Vec<T>::load_n(job.args.bias + c, lanes) : Vec<T>::broadcast(0);
      Vec<T> sum[1][kTileColumns];
#pragma GCC unroll 8
      for (int k = 0; k < kTileColumns; ++k) sum[0][k] = bias;
      sum_pixels(job, band, x, columns.last, c, sum);
      finish_tile(job, band, columns, c, lanes, sum);
    }
  }
}
