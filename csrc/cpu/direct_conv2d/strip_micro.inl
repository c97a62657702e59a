// The micro-kernel of strips: reads the values under the filter where they lie, an output pixel a fixed step
// from the next, and stores to the output map.

// What a call of the micro-kernel fetches into L2 meanwhile: `lines` lines after every kFetchDepth products.
struct StripFetch {
  const char* line;  // no address can fault
  int64_t step;      // bytes
  int64_t lines;
};

inline constexpr int kFetchDepth = 4;

// One block of output pixels and one panel.
template <typename T>
struct StripBlock {
  const T* a;           // the first value under the filter at the first pixel
  int64_t pixel_step;   // from there to the next output pixel
  const int64_t* runs;  // where values lie side by side, counted from `a`
  int64_t run_count, run_length;
  const T* b;          // [run][run_length][width of the panel]
  const T* start;      // [width of the panel] of the first pixel: what the sums start from
  int64_t start_step;  // to the next pixel
  T* out;              // of the first pixel
  int64_t out_step;    // to the next
  int64_t channels;    // that exist
  T low, high;         // results are clamped to these
  StripFetch input, output;
};

// Addresses of up to 14 rows, a step apart, from six registers and multiples of the step: rows 0, 2, 5, 7, 10
// and 12 are kept.
template <typename T>
struct StripRows {
  const T* base[6];
  int64_t step;

  StripRows(const T* row0, int64_t s)
      : base{row0, row0 + 2 * s, row0 + 5 * s, row0 + 7 * s, row0 + 10 * s, row0 + 12 * s}, step(s) {}

  // Value k of a row.
  template <int kRow, int k>
  GK_INLINE Vec<T> broadcast() const {
    constexpr int kPast = kRow % 5, kBase = kRow / 5 * 2 + (kPast >= 2);
    constexpr int kSteps = kPast >= 2 ? kPast - 2 : kPast;
#if GK_ISA_WIDTH == 16 && !defined(__SANITIZE_ADDRESS__)
    // Written out, since compilers keep each sum of a multiple of the step and a small number in a register,
    // and then run out of them.
    Vec<T> value;
    const T* p = base[kBase];
    if constexpr (kSteps == 0)
      asm("vbroadcastss %c2(%1), %0" : "=v"(value.v) : "r"(p), "i"(k * 4), "m"(all(p)));
    if constexpr (kSteps == 1)
      asm("vbroadcastss %c3(%1,%2,4), %0" : "=v"(value.v) : "r"(p), "r"(step), "i"(k * 4), "m"(all(p)));
    if constexpr (kSteps == 2)
      asm("vbroadcastss %c3(%1,%2,8), %0" : "=v"(value.v) : "r"(p), "r"(step), "i"(k * 4), "m"(all(p)));
    return value;
#else
    return Vec<T>::broadcast(base[kBase][kSteps * step + k]);
#endif
  }
  // What the assembler reads, for the compiler: anything from p on.
  static GK_INLINE auto& all(const T* p) { return *reinterpret_cast<const T(*)[]>(p); }

  GK_INLINE void advance(int k) {
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) base[i] += k;
  }
};

template <typename T, int kRows, int kVecs, int k, int kRow>
GK_INLINE void strip_multiply(const StripRows<T>& a, const Vec<T> (&b)[kVecs], Vec<T> (&sum)[kRows][kVecs]) {
  if constexpr (kRow < kRows) {
    const Vec<T> value = a.template broadcast<kRow, k>();
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) sum[kRow][j] = fma(value, b[j], sum[kRow][j]);
    strip_multiply<T, kRows, kVecs, k, kRow + 1>(a, b, sum);
  }
}

template <typename T, int kRows, int kVecs, int kWidth, int k, int kEnd>
GK_INLINE void strip_steps(StripRows<T>& a, const T* b, Vec<T> (&sum)[kRows][kVecs]) {
  if constexpr (k < kEnd) {
    Vec<T> b_row[kVecs];
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) b_row[j] = Vec<T>::load(b + k * kWidth + j * Vec<T>::kWidth);
    strip_multiply<T, kRows, kVecs, k, 0>(a, b_row, sum);
    strip_steps<T, kRows, kVecs, kWidth, k + 1, kEnd>(a, b, sum);
  }
}

// A panel of 32 channels is two lines of a pixel.
template <int64_t kLines>
GK_INLINE void strip_fetch(StripFetch& fetch) {
  for (int64_t i = 0; i < fetch.lines; ++i, fetch.line += fetch.step) {
    __builtin_prefetch(fetch.line, 0, 2);
    if (kLines == 2) __builtin_prefetch(fetch.line + kCacheLine, 0, 2);
  }
}

template <typename T, int kRows, int kVecs>
GK_INLINE void strip_store(const StripBlock<T>& block, int first, const Vec<T> (&sum)[kRows][kVecs]) {
  T* out = block.out + first;
  const int64_t left = block.channels - first;
  const Vec<T> low = Vec<T>::broadcast(block.low), high = Vec<T>::broadcast(block.high);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i, out += block.out_step) {
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) {
      const Vec<T> value = min(high, max(low, sum[i][j]));  // in this order a NaN comes through
      if (left >= kVecs * Vec<T>::kWidth) {
        value.store(out + j * Vec<T>::kWidth);
      } else {
        value.store_n(out + j * Vec<T>::kWidth, left - j * Vec<T>::kWidth);
      }
    }
  }
}

// kVecs vectors of channels from `first` on, of each of kRows pixels.
template <typename T, int kRows, int kVecs, int kWidth>
void strip_vectors(const StripBlock<T>& block, int first) {
  Vec<T> sum[kRows][kVecs];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j)
      sum[i][j] = Vec<T>::load(block.start + i * block.start_step + first + j * Vec<T>::kWidth);

  StripFetch input = block.input, output = block.output;
  const T* b = block.b + first;
  const int64_t step = block.pixel_step;
  for (int64_t run = 0; run < block.run_count; ++run) {
    const T* start = block.a + block.runs[run];
    StripRows<T> a(start, step);
    int64_t left = block.run_length;
    for (; left >= kFetchDepth; left -= kFetchDepth) {
      strip_steps<T, kRows, kVecs, kWidth, 0, kFetchDepth>(a, b, sum);
      a.advance(kFetchDepth);
      b += kFetchDepth * kWidth;
      strip_fetch<1>(input);
      strip_fetch<kWidth * sizeof(T) / kCacheLine>(output);
    }
    for (; left > 0; --left, b += kWidth) {
      strip_steps<T, kRows, kVecs, kWidth, 0, 1>(a, b, sum);
      a.advance(1);
    }
  }
  strip_store<T, kRows, kVecs>(block, first, sum);
}

template <typename T, int kRows, int kWidth>
void strip_rows(const StripBlock<T>& block) {
  constexpr int kVecs = kMicroVecs * Vec<T>::kWidth <= kWidth ? kMicroVecs : 1;
  for (int j = 0; j < kWidth && j < block.channels; j += kVecs * Vec<T>::kWidth)
    strip_vectors<T, kRows, kVecs, kWidth>(block, j);
}

template <typename T>
using StripMicro = void (*)(const StripBlock<T>& block);

template <typename T, int kWidth, int kRows = kMicroRows>
StripMicro<T> strip_micro(int64_t rows) {
  if constexpr (kRows == 1) {
    return &strip_rows<T, 1, kWidth>;
  } else {
    return rows == kRows ? &strip_rows<T, kRows, kWidth> : strip_micro<T, kWidth, kRows - 1>(rows);
  }
}
