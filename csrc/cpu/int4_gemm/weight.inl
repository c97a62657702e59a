// Packing of the weight: octets of its rows into panels, scales into bfloat16, and the sum of each row.

// One group of one row of b, of which `count` elements exist. to: at the row's place in the group. Returns
// the sum.
inline int64_t pack_int4_row(const int8_t* b, int64_t count, int64_t group, uint8_t* to) {
  int64_t sum = 0;
  for (int64_t d = 0; d < count; ++d) sum += b[d];
  const auto nibble = [&](int64_t d) { return uint8_t(d < count ? b[d] + 8 : 8); };
  for (int64_t d = 0; d < group; d += 8, to += 4 * kInt4Panel) {
    for (int i = 0; i < 4; ++i) to[i] = uint8_t(nibble(d + i) | nibble(d + 4 + i) << 4);
  }
  return sum;
}

// Packs the panels [begin, end).
inline void int4_pack_panels(const Int4PackArgs& args, int64_t begin, int64_t end) {
  const Int4Weight& shape = args.shape;
  const int64_t groups = shape.groups();
  for (int64_t row = begin * kInt4Panel; row < end * kInt4Panel; ++row) {
    const int64_t column = row % kInt4Panel;
    uint8_t* to = args.packed + row / kInt4Panel * shape.panel_bytes();
    float total = 0;
    for (int64_t g = 0; g < groups; ++g, to += shape.group_bytes()) {
      const int64_t first = g * shape.group,
                    left = shape.k - first < shape.group ? shape.k - first : shape.group;
      const bool exists = row < shape.n;
      const BFloat16 scale = to_bfloat16(exists ? args.scale[row * groups + g] : 0);
      const int64_t sum = pack_int4_row(args.b + (exists ? row * shape.k + first : 0), exists ? left : 0,
                                        shape.group, to + 2 * kInt4Panel + 4 * column);
      reinterpret_cast<BFloat16*>(to)[column] = scale;
      total += cpu::to_float(scale) * float(sum);
    }
    reinterpret_cast<float*>(to)[column] = total;
  }
}
