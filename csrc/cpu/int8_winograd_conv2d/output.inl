// Stages 2 and 3 of int8_winograd_conv2d: the products of all taps with one panel of the weight, and Y = A^T
// P A with bias, skip and activation. Include cpu/int8_panel.inl and cpu/conv_output.inl before.

// Both rows of A^T times four values.
GK_INLINE void transform_two(Vec<float> p0, Vec<float> p1, Vec<float> p2, Vec<float> p3, Vec<float> (&y)[2]) {
  y[0] = p0 + p1 + p2;
  y[1] = p1 - p2 - p3;
}

// What a vector of output channels needs to know.
struct WinogradChannels {
  Vec<float> scale[kInt8WinogradTaps];
  Vec<float> bias, slope;
  int64_t channel, lanes;  // lanes: channels from `channel` on that exist

  GK_INLINE WinogradChannels(const Int8WinogradArgs& args, const HalfPanel<float>& half, int64_t c)
      : channel(half.channel + c), lanes(half.channels - c) {
    for (int64_t t = 0; t < kInt8WinogradTaps; ++t) {
      scale[t] = Vec<float>::load_n(args.weight_scale + t * args.out_c + channel, lanes);
    }
    bias = Vec<float>::load(half.bias + c);
    slope = Vec<float>::load(half.slope + c);
  }
};

// The 2 x 2 output values of tile `i` of the group; sums: of its channels in the first tap.
GK_INLINE void finish_tile(const Int8WinogradJob& job, const WinogradChannels& channels, int64_t i,
                           const int32_t* sums) {
  using V = Vec<float>;
  const Int8WinogradArgs& args = job.args;
  V part[4][2];  // [column][row of A^T P]
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    V p[4];
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) {
      const int64_t t = 4 * row + j;
      const V scale = V::broadcast(job.scale[t * job.tiles + i]) * channels.scale[t];
      p[row] = to_float(Ints::load(sums + t * job.tiles * kInt8Panel)) * scale;
    }
    transform_two(p[0], p[1], p[2], p[3], part[j]);
  }
  const Int8WinogradPlace& place = job.place[i];
  for (int64_t row = 0; row < place.rows; ++row) {
    V pixels[2];
    transform_two(part[0][row], part[1][row], part[2][row], part[3][row], pixels);
    for (int64_t j = 0; j < place.columns; ++j) {
      const int64_t at = (place.pixel + row * args.out_w() + j) * args.out_c + channels.channel;
      const V value = finish(args, pixels[j] + channels.bias, args.skip ? args.skip + at : nullptr,
                             channels.lanes, channels.slope);
      if (channels.lanes >= V::kWidth) {
        value.store(args.out + at);
      } else {
        value.store_n(args.out + at, channels.lanes);
      }
    }
  }
}

template <bool kVnni>
void winograd_panel(const Int8WinogradJob& job, int64_t panel, int32_t* sums) {
  const auto* const taps = static_cast<const typename Dot<kVnni>::Element*>(job.taps);
  const int64_t of_tap = job.tiles * kInt8Panel;
  for (int64_t t = 0; t < kInt8WinogradTaps; ++t) {
    int8_panel<kVnni>(job.product(t, panel, sums + t * of_tap), panel, 0, job.blocks,
                      taps + t * job.tap_stride(), job.rows(t), sums + kInt8WinogradTaps * of_tap);
  }
  const Int8WinogradArgs& args = job.args;
  const int64_t first = panel * kInt8Panel;
  for (int64_t c = 0; c < kInt8Panel && first + c < args.out_c; c += 16) {
    const HalfPanel<float> half(args, first + c, args.out_c);
    for (int64_t v = 0; v < half.channels; v += Vec<float>::kWidth) {
      const WinogradChannels channels(args, half, v);
      for (int64_t i = 0; i < job.tiles; ++i) finish_tile(job, channels, i, sums + i * kInt8Panel + c + v);
    }
  }
}
