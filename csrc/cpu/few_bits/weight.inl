// Packing of the weight: codes of its rows into panels, scales into bfloat16, and the sum of each row.

// One group of one row of b, which begins at `first` and of which `count` elements exist. to: at the row's
// place in the group. Returns the sum of what the codes stand for.
template <typename Codes>
int64_t pack_few_bit_row(const typename Codes::PackArgs& args, int64_t first, int64_t count, uint8_t* to) {
  constexpr int kFields = 8 / Codes::kBits;
  int64_t sum = 0;
  for (int64_t d = 0; d < count; ++d) sum += Codes::value_of(args, first + d);
  const auto code = [&](int64_t d) { return d < count ? Codes::code_of(args, first + d) : Codes::kNone; };
  for (int64_t d = 0; d < args.shape.group; d += 4 * kFields, to += 4 * kFewBitPanel) {
    for (int i = 0; i < 4; ++i) {
      int byte = 0;
      for (int f = 0; f < kFields; ++f) byte |= code(d + 4 * f + i) << Codes::kBits * f;
      to[i] = uint8_t(byte);
    }
  }
  return sum;
}

// Packs the panels [begin, end).
template <typename Codes>
void pack_few_bit_panels(const typename Codes::PackArgs& args, int64_t begin, int64_t end) {
  const auto& shape = args.shape;
  const int64_t groups = shape.groups();
  for (int64_t row = begin * kFewBitPanel; row < end * kFewBitPanel; ++row) {
    const int64_t column = row % kFewBitPanel;
    uint8_t* to = args.packed + Codes::kHead + row / kFewBitPanel * shape.panel_bytes();
    float total = 0;
    for (int64_t g = 0; g < groups; ++g, to += shape.group_bytes()) {
      const int64_t first = g * shape.group,
                    left = shape.k - first < shape.group ? shape.k - first : shape.group;
      const bool exists = row < shape.n;
      const BFloat16 scale = to_bfloat16(exists ? args.scale[row * groups + g] : 0);
      const int64_t sum = pack_few_bit_row<Codes>(args, exists ? row * shape.k + first : 0, exists ? left : 0,
                                                  to + 2 * kFewBitPanel + 4 * column);
      reinterpret_cast<BFloat16*>(to)[column] = scale;
      total += cpu::to_float(scale) * float(sum);
    }
    reinterpret_cast<float*>(to)[column] = total;
  }
}
