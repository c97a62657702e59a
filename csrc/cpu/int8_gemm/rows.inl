// Stage 1 of int8_gemm: rows of a become blocks of quantized rows, [chunk of 64 of the depth][row][64].
// Include cpu/int8_dot.inl and cpu/int8_range.inl before.

// Copies the 8-bit integers of a row, with 128 added to them (flip = 0x80) or not (0).
template <typename Element>
GK_INLINE void copy_row(const uint8_t* row, uint8_t flip, int64_t k, Element* a, int64_t stride) {
  if constexpr (std::is_same_v<Element, int8_t>) flip ^= 0x80;  // 128 lower
  for (; k >= 64; k -= 64, row += 64, a += stride) {
    for (int i = 0; i < 64; ++i) a[i] = Element(row[i] ^ flip);
  }
  for (int64_t i = 0; i < k; ++i) a[i] = Element(row[i] ^ flip);
  for (; k % 4 != 0; ++k) a[k] = 0;  // the rest of a quad
}

template <typename Element>
GK_INLINE void quantize_row(const float* row, const Quantizer& by, int64_t k, Element* a, int64_t stride) {
  using V = Vec<float>;
  const V inverse = V::broadcast(by.inverse);
  const Ints zero = Ints::broadcast(int32_t(by.zero));
  for (; k >= 64; k -= 64, row += 64, a += stride) quantize_chunk(row, inverse, zero, a);
  const int64_t end = (k + 3) / 4 * 4;  // of the last quad
  for (int64_t i = 0; i < end; i += V::kWidth) {
    store_elements(quantize(V::load_n(row + i, k - i), inverse, zero), a + i);
  }
}

// Packs row r, and says what is known of it.
template <typename Element>
GK_INLINE void pack_row(const Int8GemmArgs& args, int64_t r, Element* a, int64_t stride,
                        const Int8Rows& rows) {
  const int64_t k = args.shape.k;
  const float scale = args.row_scales ? args.row_scale[args.row_scales == 1 ? 0 : r] : 0;
  const int32_t zero = args.zero_points ? args.zero_point[args.zero_points == 1 ? 0 : r] : 0;
  if (args.input == Int8Input::kFloat) {
    const float* row = static_cast<const float*>(args.a) + r * k;
    const Quantizer by =
        args.row_scales ? Quantizer{scale, 1 / scale, float(zero)} : quantizer_of(find_range(row, k));
    quantize_row(row, by, k, a, stride);
    rows.scale[r] = by.scale;
    rows.zero[r] = int32_t(by.zero);
    return;
  }
  const bool is_signed = args.input == Int8Input::kInt8;
  copy_row(static_cast<const uint8_t*>(args.a) + r * k, is_signed ? 0x80 : 0, k, a, stride);
  rows.scale[r] = scale;
  rows.zero[r] = is_signed ? zero + 128 : zero;
}

// Packs the blocks [begin, end). v: of block `begin`.
template <bool kVnni>
void pack_blocks(const Int8GemmArgs& args, const Int8Product& job, int64_t begin, int64_t end, void* v,
                 const Int8Rows& rows) {
  auto* a = static_cast<typename Dot<kVnni>::Element*>(v);
  for (int64_t block = begin; block < end; ++block, a += job.block_stride()) {
    const int64_t first = job.first_row(block), count = job.rows(block);
    for (int64_t i = 0; i < count; ++i) pack_row(args, first + i, a + i * 64, count * 64, rows);
  }
}
