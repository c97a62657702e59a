// The micro-kernel of sgemm: a block of rows times a panel of b, summed in registers and written to one or
// more blocks of the output, each with a sign. It differs from sgemm_micro.inl in what surrounds the product:
// sums leave with the row stride of the output, and a comes from L2, so it is fetched into L1 ahead of use.
//
//   a: [depth / 16, rounded up][rows][16]: of each row 16 consecutive k kept whole
//   b: [depth][kWidth]
#if GK_ISA_WIDTH == 4
#include "cpu/row_values.inl"
#endif

inline constexpr int kChunk = 16;  // k kept together in a panel of a

// Rows and vectors of the register block. 14 x 2 leaves 4 of 32 registers for b and the broadcast; 6 x 2
// leaves 4 of 16; with NEON 8 x 2 leaves 8 for the values of a and 8 for b.
inline constexpr int kGemmRows = GK_ISA_WIDTH == 16 ? 14 : GK_ISA_WIDTH == 8 ? 6 : GK_ISA_WIDTH == 4 ? 8 : 4;
inline constexpr int kGemmVecs = GK_ISA_WIDTH == 1 ? 4 : 2;

inline constexpr int kFetchChunks = 2;  // by which a is fetched into L1 ahead of its use

GK_INLINE void fetch_lines(int k, SgemmFetch& fetch) {
  if (k == 1) __builtin_prefetch(fetch.out, 1, 2);
  if (k == 3) __builtin_prefetch(fetch.out + 64, 1, 2);
  if (k == 4) __builtin_prefetch(fetch.out + fetch.out_pair, 1, 2);
  if (k == 5) __builtin_prefetch(fetch.out + fetch.out_pair + 64, 1, 2);
  if (k == 6) __builtin_prefetch(fetch.b, 0, 2);
  if (k == 7) __builtin_prefetch(fetch.b + 64, 0, 2);
  if (k == 9) __builtin_prefetch(fetch.b + fetch.b_pair, 0, 2);
  if (k == 11) __builtin_prefetch(fetch.b + fetch.b_pair + 64, 0, 2);
  if (k == 13) __builtin_prefetch(fetch.a, 0, 2);
  if (k == 15) {
    fetch.out += fetch.out_step;
    fetch.b += fetch.b_step;
    fetch.a += 64;
  }
}

// Fetches a block of the output into L1 while the last kClosingDepth k are multiplied, so that writing it
// back does not wait for L2: four rows of up to two lines for each 16 k.
inline constexpr int kClosingDepth = 64;
static_assert(kClosingDepth / kChunk * 4 >= kGemmRows);

GK_INLINE void fetch_out(int k, const char*& row, int64_t row_bytes) {
  if (k % 4 == 0) __builtin_prefetch(row, 1, 3);
  if (k % 4 == 2) {
    __builtin_prefetch(row + 64, 1, 3);
    row += row_bytes;
  }
}

// sum += *a * b for all vectors of a row.
template <typename T, int kVecs>
GK_INLINE void add_row(const T* a, const Vec<T> (&b)[kVecs], Vec<T> (&sum)[kVecs]) {
  const Vec<T> a_value = Vec<T>::broadcast(*a);
#pragma GCC unroll 4
  for (int j = 0; j < kVecs; ++j) sum[j] = fma(a_value, b[j], sum[j]);
}

#if GK_ISA_WIDTH == 16
// The same with *a as a memory operand of each multiply-add, which spares the instruction that broadcasts it
// but loads it kVecs times. Half of the rows this way and half the other leaves both the front end and the
// load ports air: +6 % in minutes in which the machine was slow, +2 % in fast ones (Sapphire Rapids class,
// single runs; all rows this way +4 %). The compiler would merge the loads again, hence
// the assembly.
template <int kVecs>
GK_INLINE void add_row_from_memory(const float* a, const Vec<float> (&b)[kVecs], Vec<float> (&sum)[kVecs]) {
#pragma GCC unroll 4
  for (int j = 0; j < kVecs; ++j)
    asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum[j].v) : "v"(b[j].v), "m"(*a));
}
#else
template <typename T, int kVecs>
GK_INLINE void add_row_from_memory(const T* a, const Vec<T> (&b)[kVecs], Vec<T> (&sum)[kVecs]) {
  add_row(a, b, sum);
}
#endif

#if GK_ISA_WIDTH == 4
template <typename T, int kRows, int kVecs>
GK_INLINE void gemm_step(const RowValues<T, kRows, kChunk>& a, int k, const T* b,
                         Vec<T> (&sum)[kRows][kVecs]) {
  Vec<T> b_row[kVecs];
#pragma GCC unroll 4
  for (int j = 0; j < kVecs; ++j) b_row[j] = Vec<T>::load(b + j * Vec<T>::kWidth);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) a.add(i, k, b_row, sum[i]);
}
#else
template <typename T, int kRows, int kVecs, int kWidth>
GK_INLINE void gemm_step(const T* a, const T* b, Vec<T> (&sum)[kRows][kVecs]) {
  Vec<T> b_row[kVecs];
#pragma GCC unroll 4
  for (int j = 0; j < kVecs; ++j) b_row[j] = Vec<T>::load(b + j * Vec<T>::kWidth);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    if (i % 2) {
      add_row_from_memory(a + i * kChunk, b_row, sum[i]);
    } else {
      add_row(a + i * kChunk, b_row, sum[i]);
    }
  }
}
#endif

// The sums of kVecs vectors of each row, over all of the depth. They will be written to `out`.
template <typename T, int kRows, int kVecs, int kWidth>
GK_INLINE void gemm_sums(const T* a, const T* b, int64_t depth, SgemmFetch fetch, const T* out,
                         const SgemmWriteBack<T>& to, Vec<T> (&sum)[kRows][kVecs]) {
  const char* out_row = reinterpret_cast<const char*>(out);
  const char* sums_row = reinterpret_cast<const char*>(to.sums ? to.sums : out);
  const int64_t sums_step = to.sums ? kSgemmPanel * int64_t{sizeof(T)} : 0;
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) sum[i][j] = Vec<T>::broadcast(0);
#if GK_ISA_WIDTH == 4
  RowValues<T, kRows, kChunk> values;
#endif
  for (; depth >= kChunk; depth -= kChunk) {
    const bool closing = depth < kClosingDepth + kChunk;
    for (int64_t i = 0; i < fetch.stream_lines; ++i, fetch.stream += 64)
      __builtin_prefetch(fetch.stream, 0, 2);
#pragma GCC unroll 16
    for (int k = 0; k < kChunk; ++k) {
#if GK_ISA_WIDTH == 4
      values.load(a + k, k);
      gemm_step(values, k, b + k * kWidth, sum);
#else
      gemm_step<T, kRows, kVecs, kWidth>(a + k, b + k * kWidth, sum);
#endif
      if (k < kRows) __builtin_prefetch(a + (kFetchChunks * kRows + k) * kChunk);
      fetch_lines(k, fetch);
      if (closing) {
        fetch_out(k, out_row, to.out_stride * int64_t{sizeof(T)});
        fetch_out(k + 1, sums_row, sums_step);
      }
    }
    a += kChunk * kRows;
    b += kChunk * kWidth;
  }
#if GK_ISA_WIDTH == 4
  for (int64_t k = 0; k < depth; ++k) {
    values.load_one(a + k);
    gemm_step(values, 0, b + k * kWidth, sum);
  }
#else
  for (int64_t k = 0; k < depth; ++k) gemm_step<T, kRows, kVecs, kWidth>(a + k, b + k * kWidth, sum);
#endif
}

// Stores sums from column `first` of the panel on, finished.
template <typename T, int kRows, int kVecs>
GK_INLINE void store_finished(const SgemmTarget<T>& target, const SgemmFinish<T>& finish, int first,
                              int64_t out_stride, const Vec<T> (&sum)[kRows][kVecs]) {
  const T* from = (target.from ? target.from : kSgemmZeros<T>)+first;
  const int64_t from_stride = target.from ? target.from_stride : 0;
  const Vec<T> sign = Vec<T>::broadcast(target.sign), scale = Vec<T>::broadcast(finish.skip_scale);
  const Vec<T> low = Vec<T>::broadcast(finish.low), high = Vec<T>::broadcast(finish.high);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVecs; ++j) {
      const int column = j * Vec<T>::kWidth;
      Vec<T> value = fma(sign, sum[i][j], Vec<T>::load(from + i * from_stride + column));
      value = fma(scale, Vec<T>::load(finish.skip + i * finish.skip_stride + first + column), value);
      min(high, max(low, value)).store(target.out + i * out_stride + first + column);  // lets NaN through
    }
}

template <typename T, int kRows, int kWidth>
void gemm_rows(const T* a, const T* b, int64_t depth, const SgemmFetch& fetch, const SgemmWriteBack<T>& to) {
  constexpr int kVecs = kGemmVecs * Vec<T>::kWidth <= kWidth ? kGemmVecs : 1;
  const SgemmTarget<T>* targets = to.targets;
  const int64_t out_stride = to.out_stride;
  for (int first = 0; first < kWidth; first += kVecs * Vec<T>::kWidth) {
    Vec<T> sum[kRows][kVecs];
    gemm_sums<T, kRows, kVecs, kWidth>(a, b + first, depth, fetch, targets[0].out + first, to, sum);
    if (to.sums) {
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kVecs; ++j)
          sum[i][j] = sum[i][j] + Vec<T>::load(to.sums + i * kSgemmPanel + first + j * Vec<T>::kWidth);
    }
    if (to.finish) {
      store_finished<T, kRows, kVecs>(targets[0], *to.finish, first, out_stride, sum);
      continue;
    }
    for (int64_t t = 0; t < to.count; ++t) {
      T* out = targets[t].out + first;
      const T* from = targets[t].from;
      const Vec<T> sign = Vec<T>::broadcast(targets[t].sign);
      if (!from) {
#pragma GCC unroll 16
        for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
          for (int j = 0; j < kVecs; ++j) (sign * sum[i][j]).store(out + i * out_stride + j * Vec<T>::kWidth);
        continue;
      }
      from += first;
      const int64_t from_stride = targets[t].from_stride;
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < kVecs; ++j) {
          const Vec<T> start = Vec<T>::load(from + i * from_stride + j * Vec<T>::kWidth);
          fma(sign, sum[i][j], start).store(out + i * out_stride + j * Vec<T>::kWidth);
        }
    }
  }
}

template <typename T>
using GemmMicro = void (*)(const T* a, const T* b, int64_t depth, const SgemmFetch& fetch,
                           const SgemmWriteBack<T>& to);

// The kernel for `rows` rows, 1 <= rows <= kGemmRows, and a panel of b that is kWidth wide.
template <typename T, int kWidth, int kRows = kGemmRows>
GemmMicro<T> gemm_micro(int64_t rows) {
  if constexpr (kRows == 1) {
    return &gemm_rows<T, 1, kWidth>;
  } else {
    return rows == kRows ? &gemm_rows<T, kRows, kWidth> : gemm_micro<T, kWidth, kRows - 1>(rows);
  }
}
