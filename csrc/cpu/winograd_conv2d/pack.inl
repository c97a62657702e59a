// U = G g G^T of one instruction set. Plain loops over 16 output channels, which the compiler turns into
// vectors; in double, since the entries of G are no binary fractions and a weight is packed once but used
// often.

// Channel c of 16 output channels from `out_channel`; u: [tap] with tap_stride, 16 channels adjacent.
template <typename T, int m>
void pack_channel(const WinogradPackArgs<T>& args, int64_t out_channel, int64_t c, T* u, int64_t tap_stride) {
  constexpr int kAlpha = m + 2;
  constexpr auto& kG = kWinograd<m>.g;
  double filter[3][3][16], part[kAlpha][3][16];
  for (int lane = 0; lane < 16; ++lane) {
    const bool exists = out_channel + lane < args.out_c;
    const int64_t k = exists ? out_channel + lane : 0;
    const T* source = args.weight + (args.rotated ? c * args.out_c + k : k * args.in_c + c) * 9;
    for (int i = 0; i < 9; ++i) {
      const int at = args.rotated ? 8 - i : i;
      filter[i / 3][i % 3][lane] = exists ? double(source[at]) : 0.0;
    }
  }
  for (int i = 0; i < kAlpha; ++i)
    for (int j = 0; j < 3; ++j)
      for (int lane = 0; lane < 16; ++lane)
        part[i][j][lane] =
            kG[i][0] * filter[0][j][lane] + kG[i][1] * filter[1][j][lane] + kG[i][2] * filter[2][j][lane];
  for (int i = 0; i < kAlpha; ++i)
    for (int j = 0; j < kAlpha; ++j)
      for (int lane = 0; lane < 16; ++lane)
        u[(i * kAlpha + j) * tap_stride + lane] =
            T(part[i][0][lane] * kG[j][0] + part[i][1][lane] * kG[j][1] + part[i][2][lane] * kG[j][2]);
}

// Input channels [begin, end) of one panel.
template <typename T, int m>
void pack_panel(const WinogradPackArgs<T>& args, int64_t panel, int64_t begin, int64_t end) {
  const int64_t first = panel * kWinogradPanel;
  const int64_t width = args.out_c - first > kWinogradHalfPanel ? kWinogradPanel : kWinogradHalfPanel;
  T* u = args.packed + first * (m + 2) * (m + 2) * args.in_c;
  for (int64_t c = begin; c < end; ++c)
    for (int64_t half = 0; half < width; half += 16)
      pack_channel<T, m>(args, first + half, c, u + c * width + half, args.in_c * width);
}

template <typename T>
void winograd_pack_panel(const WinogradPackArgs<T>& args, int64_t panel, int64_t begin, int64_t end) {
  switch (args.tile) {
    case 2:
      return pack_panel<T, 2>(args, panel, begin, end);
    case 4:
      return pack_panel<T, 4>(args, panel, begin, end);
    default:
      return pack_panel<T, 6>(args, panel, begin, end);
  }
}
