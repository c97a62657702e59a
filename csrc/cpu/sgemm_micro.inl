// The fp32 (and, on the scalar level, fp64) micro-kernel: a small block of out = a * b, all of it in
// registers.
//
//   a: panel [depth / 16, rounded up][rows][16]: of each row 16 consecutive k kept whole, so that transforms
//      and packing store whole vectors and the kernel broadcasts scalars at offsets known to the compiler
//      or, where kColumns is set, [depth][kColumnStep] with `rows` values of use in each column
//   b: [depth][width], width = 32 or 16
//   out: [rows][width]
//   start: what the sums start from, rows start_stride apart: a bias (stride 0), or out itself (stride width)
//      where a sum comes in slices of its depth; nullptr for 0
//   ahead: lines to fetch meanwhile, a run for every 16 k and, if kStream is set, a line of the stream for
//   every k
#if GK_ISA_WIDTH == 4
#include "cpu/row_values.inl"
#endif

inline constexpr int kPanelDepth = 16;  // k kept together in a panel of a
static_assert(kPanelDepth == kPrefetchDepth);

// Rows and vectors of the register block. 14 x 2 leaves 4 of 32 registers for b and the broadcast; 6 x 2
// leaves 4 of 16; with NEON 8 x 2 leaves 8 for the values of a and 8 for b.
inline constexpr int kMicroRows = GK_ISA_WIDTH == 16 ? 14 : GK_ISA_WIDTH == 8 ? 6 : GK_ISA_WIDTH == 4 ? 8 : 4;
inline constexpr int kMicroVecs = GK_ISA_WIDTH == 1 ? 4 : 2;

inline constexpr int kColumnStep = GK_ISA_WIDTH == 16 ? 16 : GK_ISA_WIDTH == 1 ? 4 : 8;
static_assert(kColumnStep >= kMicroRows);

// Lets the compiler know `pointer` only after `value`, at no cost: else it gathers fetches into a burst.
template <typename T>
GK_INLINE void keep_after(const char*& pointer, Vec<T> value) {
#if GK_ISA_WIDTH == 16
  asm("" : "+r"(pointer) : "v"(value.v));
#elif defined(__x86_64__)
  asm("" : "+r"(pointer) : "x"(value.v));
#else
  asm("" : "+r"(pointer) : "w"(value.v));
#endif
}

#if GK_ISA_WIDTH == 4
template <typename T, int kRows, int kVecs, int kRowStep>
GK_INLINE void sgemm_micro_step(const RowValues<T, kRows, kRowStep>& a, int k, const T* b,
                                Vec<T> (&sum)[kRows][kVecs]) {
  Vec<T> b_row[kVecs];
#pragma GCC unroll 4
  for (int j = 0; j < kVecs; ++j) b_row[j] = Vec<T>::load(b + j * Vec<T>::kWidth);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) a.add(i, k, b_row, sum[i]);
}
#else
template <typename T, int kRows, int kVecs, int kRowStep>
GK_INLINE void sgemm_micro_step(const T* a, const T* b, Vec<T> (&sum)[kRows][kVecs]) {
  Vec<T> b_row[kVecs];
#pragma GCC unroll 4
  for (int j = 0; j < kVecs; ++j) b_row[j] = Vec<T>::load(b + j * Vec<T>::kWidth);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const Vec<T> a_value = Vec<T>::broadcast(a[i * kRowStep]);
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) sum[i][j] = fma(a_value, b_row[j], sum[i][j]);
  }
}
#endif

// The lines that a block of sums is stored to, fetched into L1 while the last kClosingDepth k are multiplied:
// a store to a line in L2 holds up the loads of the next call.
inline constexpr int kClosingDepth = 64;

template <typename T, int kRows, int kVecs, int kWidth>
struct OutLines {
  static constexpr int kRowBytes = kVecs * Vec<T>::kWidth * int{sizeof(T)};
  static constexpr bool kWhole = kVecs * Vec<T>::kWidth == kWidth;  // rows follow one another
  static constexpr int kStep = kWhole ? int{kCacheLine} : kWidth * int{sizeof(T)};
  static constexpr int kLines = kWhole ? (kRows * kRowBytes + int{kCacheLine} - 1) / int{kCacheLine} : kRows;
  static constexpr int kBlocks = kClosingDepth / kPanelDepth;
  static constexpr int kPerBlock = (kLines + kBlocks - 1) / kBlocks;

  const char* line;

  GK_INLINE explicit OutLines(const T* out) : line(reinterpret_cast<const char*>(out)) {}

  // To be called for each k of a panel, by turns with its products.
  GK_INLINE void fetch(int k, Vec<T> product) {
    if ((k + 1) * kPerBlock / kPanelDepth == k * kPerBlock / kPanelDepth) return;
    __builtin_prefetch(line, 1, 3);
    line += kStep;
    keep_after(line, product);
  }
};

// Computes kVecs vectors of each of kRows rows.
template <typename T, int kRows, int kVecs, int kWidth, bool kColumns, bool kStream>
void sgemm_micro_block(const T* a, const T* b, const T* start, int64_t start_stride, T* out, int64_t depth,
                       PrefetchRuns ahead) {
  Vec<T> sum[kRows][kVecs];
  if (start) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kVecs; ++j) sum[i][j] = Vec<T>::load(start + i * start_stride + j * Vec<T>::kWidth);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kVecs; ++j) sum[i][j] = Vec<T>::broadcast(0);
  }

  constexpr int kRowStep = kColumns ? 1 : kPanelDepth, kDepthStep = kColumns ? kColumnStep : 1;
  OutLines<T, kRows, kVecs, kWidth> own(out);
#if GK_ISA_WIDTH == 4
  RowValues<T, kRows, kRowStep> values;
#endif
  for (; depth >= kPanelDepth; depth -= kPanelDepth) {
    const char* line = ahead.run->line;
    const int64_t line_step = ahead.run->step;
    const char* next = ahead.stream.next;
    const bool closing = depth < kClosingDepth + kPanelDepth;
    constexpr int kFetchEvery = kPanelDepth / kPrefetchLines;
#pragma GCC unroll 16
    for (int k = 0; k < kPanelDepth; ++k) {
#if GK_ISA_WIDTH == 4
      values.load(a + k * kDepthStep, k);
      sgemm_micro_step(values, k, b + k * kWidth, sum);
#else
      sgemm_micro_step<T, kRows, kVecs, kRowStep>(a + k * kDepthStep, b + k * kWidth, sum);
#endif
      if (k % kFetchEvery == 1) {
        // Into L2; read, not write: no other core has the line, so it can be written.
        __builtin_prefetch(line, 0, 2);
        line += line_step;
        keep_after(line, sum[0][0]);
      }
      if (closing) own.fetch(k, sum[kRows / 2][0]);
      if constexpr (kStream) {
        __builtin_prefetch(next, 0, 2);
        next += ahead.stream.step;
        keep_after(next, sum[kRows - 1][kVecs - 1]);
      }
    }
    ahead.run += ahead.step;
    ahead.stream.next = next;
    a += kPanelDepth * (kColumns ? kColumnStep : kRows);
    b += kPanelDepth * kWidth;
  }
#if GK_ISA_WIDTH == 4
  for (int64_t k = 0; k < depth; ++k) {
    values.load_one(a + k * kDepthStep);
    sgemm_micro_step(values, 0, b + k * kWidth, sum);
  }
#else
  for (int64_t k = 0; k < depth; ++k)
    sgemm_micro_step<T, kRows, kVecs, kRowStep>(a + k * kDepthStep, b + k * kWidth, sum);
#endif

#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) sum[i][j].store(out + i * kWidth + j * Vec<T>::kWidth);
}

template <typename T, int kRows, int kWidth, bool kColumns, bool kStream>
void sgemm_micro_rows(const T* a, const T* b, const T* start, int64_t start_stride, T* out, int64_t depth,
                      PrefetchRuns ahead) {
  constexpr int kVecs = kMicroVecs * Vec<T>::kWidth <= kWidth ? kMicroVecs : 1;
  constexpr int kStep = kVecs * Vec<T>::kWidth;
#if GK_ISA_WIDTH == 4
  // The stream has been fetched once the first of the four blocks of a panel is done.
  sgemm_micro_block<T, kRows, kVecs, kWidth, kColumns, kStream>(a, b, start, start_stride, out, depth, ahead);
  constexpr bool kAgain = false;
  constexpr int kFirst = kStep;
#else
  constexpr bool kAgain = kStream;
  constexpr int kFirst = 0;
#endif
  for (int j = kFirst; j < kWidth; j += kStep) {
    sgemm_micro_block<T, kRows, kVecs, kWidth, kColumns, kAgain>(a, b + j, start ? start + j : nullptr,
                                                                 start_stride, out + j, depth, ahead);
  }
}

template <typename T>
using SgemmMicro = void (*)(const T* a, const T* b, const T* start, int64_t start_stride, T* out,
                            int64_t depth, PrefetchRuns ahead);

// The kernel for `rows` rows, 1 <= rows <= kMicroRows, and a panel of b that is `kWidth` wide. A fetch for
// every k costs about 7 % where the line is in the cache already, so kStream is for what is not.
template <typename T, int kWidth, bool kColumns = false, bool kStream = false, int kRows = kMicroRows>
SgemmMicro<T> sgemm_micro(int64_t rows) {
  if constexpr (kRows == 1) {
    return &sgemm_micro_rows<T, 1, kWidth, kColumns, kStream>;
  } else {
    return rows == kRows ? &sgemm_micro_rows<T, kRows, kWidth, kColumns, kStream>
                         : sgemm_micro<T, kWidth, kColumns, kStream, kRows - 1>(rows);
  }
}
