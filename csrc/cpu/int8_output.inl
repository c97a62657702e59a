// The float side of an integer product: from sums to values, activation, and 8-bit integers again. Include
// cpu/activation.inl and cpu/int8_convert.inl before.

// The column parameters of a panel, 0 past the last column.
struct Int8Columns {
  float scale[kInt8Panel], bias[kInt8Panel], slope[kInt8Panel];
  int64_t count;  // columns that exist

  Int8Columns(const Int8Product& job, int64_t panel) {
    const Int8Epilogue& e = job.epilogue;
    const int64_t first = panel * kInt8Panel;
    count = job.shape.n - first < kInt8Panel ? job.shape.n - first : kInt8Panel;
    for (int64_t c = 0; c < kInt8Panel; ++c) {
      scale[c] = e.col_scale && c < count ? e.col_scale[first + c] : 0;
      bias[c] = e.bias && c < count ? e.bias[first + c] : 0;
      slope[c] = e.activation_params == 1               ? e.activation_param[0]
                 : e.activation_params > 1 && c < count ? e.activation_param[first + c]
                                                        : 0;
    }
  }
};

// The float value of sums: integers, or (kConverted) floats already.
template <bool kConverted>
GK_INLINE Vec<float> load_sums(const int32_t* sums) {
  return kConverted ? Vec<float>::load(reinterpret_cast<const float*>(sums)) : to_float(Ints::load(sums));
}

// How a float value becomes one of out; held in registers, since a store to bytes may alias anything in
// memory.
struct Int8Finish {
  Activation activation;
  Vec<float> least;  // below which values are cut: 0 for relu, which so costs no more than none
  Vec<float> inverse;
  Ints zero;
  Vec<float> skip_scale;

  GK_INLINE explicit Int8Finish(const Int8Epilogue& e) {
    const bool is_relu = e.activation == Activation::kRelu;
    activation = is_relu ? Activation::kNone : e.activation;
    least = Vec<float>::broadcast(is_relu ? 0 : -INFINITY);
    inverse = Vec<float>::broadcast(1 / e.out_scale);
    zero = Ints::broadcast(e.out_zero_point);
    skip_scale = Vec<float>::broadcast(e.skip_scale);
  }
  // skip: of column c, or nullptr.
  GK_INLINE Vec<float> value(Vec<float> sum, Vec<float> row_scale, const Int8Columns& columns, int64_t c,
                             const float* skip) const {
    using V = Vec<float>;
    V v = fma(sum, V::load(columns.scale + c) * row_scale, V::load(columns.bias + c));
    if (skip) v = fma(skip_scale, V::load_n(skip, columns.count - c), v);
    if (activation != Activation::kNone) return activate(activation, v, V::load(columns.slope + c));
    return max(least, v);  // in this order a NaN comes through
  }
  GK_INLINE void store(Vec<float> v, float* out) const { v.store(out); }
  GK_INLINE void store_n(Vec<float> v, float* out, int64_t n) const { v.store_n(out, n); }
  GK_INLINE void store(Vec<float> v, uint8_t* out) const { store_elements(quantize(v, inverse, zero), out); }
  GK_INLINE void store_n(Vec<float> v, uint8_t* out, int64_t n) const {
    store_bytes_n(quantize(v, inverse, zero), out, n);
  }
};

// Rows of values; out and skip: at the panel, of the first row.
template <bool kConverted, typename T>
void finish_rows(const Int8Product& job, const Int8Columns& columns, int64_t count, const int32_t* sums,
                 const float* row_scale, const float* skip, T* out) {
  using V = Vec<float>;
  const Int8Finish finish(job.epilogue);
  const int64_t lanes = columns.count, stride = job.out_stride;
  for (int64_t r = 0; r < count; ++r, sums += kInt8Panel, out += stride) {
    const V scale = V::broadcast(row_scale[r]);
    const auto skip_at = [&](int64_t c) { return skip ? skip + r * stride + c : nullptr; };
    if (lanes == kInt8Panel) {
#pragma GCC unroll 2
      for (int c = 0; c < kInt8Panel; c += V::kWidth) {
        finish.store(finish.value(load_sums<kConverted>(sums + c), scale, columns, c, skip_at(c)), out + c);
      }
      continue;
    }
    for (int64_t c = 0; c < lanes; c += V::kWidth) {
      finish.store_n(finish.value(load_sums<kConverted>(sums + c), scale, columns, c, skip_at(c)), out + c,
                     lanes - c);
    }
  }
}

// Rows of sums as they are.
inline void copy_sums(const Int8Product& job, int64_t lanes, int64_t count, const int32_t* sums,
                      int32_t* out) {
  for (int64_t r = 0; r < count; ++r, sums += kInt8Panel, out += job.out_stride) {
    if (lanes == kInt8Panel) {
      for (int c = 0; c < kInt8Panel; c += Vec<float>::kWidth) Ints::load(sums + c).store(out + c);
    } else {
      for (int64_t c = 0; c < lanes; ++c) out[c] = sums[c];
    }
  }
}

// Stage 3: sums [count][kInt8Panel] of the rows [first, first + count) become what the caller asked for.
template <bool kConverted>
void int8_output(const Int8Product& job, const Int8Columns& columns, int64_t panel, int64_t first,
                 int64_t count, const int32_t* sums, const Int8Rows& rows) {
  const int64_t at = job.out_at(first, panel);
  const float* const skip = job.epilogue.skip ? job.epilogue.skip + at : nullptr;
  switch (job.output) {
    case Int8Output::kSums:
      return copy_sums(job, columns.count, count, sums, static_cast<int32_t*>(job.out) + at);
    case Int8Output::kFloat:
      return finish_rows<kConverted>(job, columns, count, sums, rows.scale + first, skip,
                                     static_cast<float*>(job.out) + at);
    case Int8Output::kUint8:
      return finish_rows<kConverted>(job, columns, count, sums, rows.scale + first, skip,
                                     static_cast<uint8_t*>(job.out) + at);
  }
}
