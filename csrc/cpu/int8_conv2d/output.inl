// Stages 3 and 4 of int8_conv2d: a panel of products, into maps with channels innermost directly, into planes
// by way of a tile.

// What conv_output.inl needs to know of a call. Sums go through it as floats that are moved, never computed
// with.
struct Int8PlanesOutput {
  const float* bias;  // none: added before
  const float* skip;
  float* out;
  Activation activation;
  const float* activation_param;
  int64_t activation_params;
  float skip_scale;
};

// Rows [first, first + count) of the round from a tile of the panel whose first output channel is `channel`,
// of a group that ends at `end`.
inline void tile_to_planes(const Int8ConvJob& job, const float* tile, int64_t channel, int64_t end,
                           int64_t first, int64_t count) {
  const Int8Conv2dArgs& args = job.args;
  const Int8PlanesOutput output{nullptr,
                                args.skip,
                                static_cast<float*>(args.out),
                                args.activation,
                                args.activation_param,
                                args.activation_params,
                                args.skip_scale};
  const int64_t plane = job.out_plane();
  for (int64_t c = channel; c < end && c < channel + kInt8Panel; c += 16) {
    const HalfPanel<float> half(output, c, end);
    for (int64_t row = first; row < first + count;) {
      const int64_t image = job.first_image + row / plane, pixel = row % plane;
      const int64_t here = std::min(plane - pixel, first + count - row);
      const int64_t offset = (image * args.filter.out_c + c) * plane + pixel;
      finish_pixels_nchw(output, half, offset, plane, here, tile + (row - first) * kInt8Panel + c - channel,
                         kInt8Panel);
      row += here;
    }
  }
}

template <bool kVnni>
void conv_panel(const Int8ConvJob& job, const Int8Product& product, int64_t channel, int64_t panel,
                int64_t begin, int64_t end, const void* v, int32_t* sums) {
  if (!job.tiled()) return int8_panel<kVnni>(product, panel, begin, end, v, job.rows, sums);
  const auto* a = static_cast<const typename Dot<kVnni>::Element*>(v);
  int32_t* const tile = sums + product.sums_size();
  Int8Product tiled = product;
  tiled.out = tile;
  tiled.out_stride = kInt8Panel;
  for (int64_t first = begin; first < end; first += kInt8Run) {
    const int64_t last = std::min(first + kInt8Run, end), row = product.first_row(first);
    tiled.out_first = row * kInt8Panel + panel * kInt8Panel;
    int8_panel<kVnni>(tiled, panel, first, last, a + (first - begin) * product.block_stride(), job.rows,
                      sums);
    tile_to_planes(job, reinterpret_cast<const float*>(tile), channel + panel * kInt8Panel,
                   channel + product.shape.n, row, product.first_row(last) - row);
  }
}
