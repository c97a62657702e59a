// One matrix product as the stages of sgemm see it: out += a * b^T, where a and b may each be a sum of parts
// and the product may go to several parts of the output. A plain product has one part each; the products of
// Strassen's algorithm have more (csrc/cpu/strassen_gemm).
#pragma once

#include <cstdint>

#include "api/half_format.h"
#include "api/sgemm.h"

namespace greenkernels::cpu {

inline constexpr int kSgemmTerms = 8;  // three levels of Strassen's algorithm

// A part of an operand: sign * data, which is 0 from row `rows` and from depth `depth` on.
template <typename T>
struct SgemmTerm {
  const T* data;
  T sign;  // 1 or -1
  int64_t rows, depth;
};

// The sum of terms[0, count): element (i, d) of a term at data[i * row_stride + d * depth_stride].
template <typename T>
struct SgemmOperand {
  SgemmTerm<T> terms[kSgemmTerms];
  int count;
  int64_t row_stride, depth_stride;  // one of them is 1
  // Of b: what is packed instead of the data of its only term, panels [depth][kSgemmPanel] of numbers of 16
  // bits, each as deep as the term; or nullptr.
  const uint16_t* half = nullptr;
  HalfFormat half_format = HalfFormat::kBFloat16;
};

// A part of the output, which gets sign * product in its first `rows` rows and `columns` columns.
template <typename T>
struct SgemmOutput {
  T* data;
  const T* skip;  // with the strides of data, or nullptr
  T sign;
  int64_t rows, columns;
  bool first, last;  // whether no product before, and none after this one, goes to this part
  bool keep;         // first, but what data holds counts: beta and bias are in it already
  const T* bias;     // [columns], or nullptr
  const T* slope;    // [1] or [columns] for activations with a slope
};

template <typename T>
struct SgemmProduct {
  SgemmOperand<T> a, b;  // [m, k] and [n, k]
  const T* packed;       // b as sgemm_pack leaves it, or nullptr
  SgemmOutput<T> out[kSgemmTerms];
  int outs;
  int64_t out_stride;  // from row to row
  int64_t out_column;  // from column to column; one of the two is 1
  T skip_scale;
  Activation activation;  // of parts that are complete
  int64_t slope_step;     // 0 where all columns share one slope
  int64_t m, n, k;
};

// What one thread computes of a product: rows [row, row_end) and columns [column, column_end), the latter
// from a multiple of kSgemmPanel on.
struct SgemmShare {
  int64_t row, row_end, column, column_end;
};

// Sizes that depend on the caches and the instruction set.
struct SgemmBlocks {
  int64_t max_rows;       // of the micro-kernel
  int64_t block_rows;     // rows of a that are packed at a time, for L2
  int64_t block_depth;    // of their depth: a multiple of kSgemmSlice
  int64_t block_columns;  // columns of b that are packed at a time, as deep, for L3
};

// Scratch of one thread, in elements: the packed rows of a, the packed columns of b, the sums of a block of
// rows and one panel, a tile.
struct SgemmScratch {
  int64_t a, b, sums, tile;
  int64_t size() const { return a + b + sums + tile; }
};

// Where the micro-kernel's results go: out = from + sign * sum, or sign * sum where from is nullptr.
template <typename T>
struct SgemmTarget {
  T* out;
  const T* from;
  int64_t from_stride;
  T sign;
};

template <typename T>
inline constexpr T kSgemmZeros[kSgemmPanel] = {};

// What happens to the only target of a block that is complete, before it is stored:
// min(high, max(low, value + skip_scale * skip)), where the skip connection may be kSgemmZeros with stride 0.
template <typename T>
struct SgemmFinish {
  const T* skip;
  int64_t skip_stride;
  T skip_scale, low, high;
};

// Where the micro-kernel's sums go, with what is added to them first.
template <typename T>
struct SgemmWriteBack {
  const T* sums;                 // [rows][kSgemmPanel] of the slices before this one, or nullptr for none
  const SgemmFinish<T>* finish;  // of one target, or nullptr
  const SgemmTarget<T>* targets;
  int64_t count, out_stride;
};

// Lines that are needed soon, fetched into L2 by the micro-kernel, some for each 16 k.
struct SgemmFetch {
  const char*
      out;  // of the output: lines out, out + 64, out + out_pair and its neighbour, then out_step further
  int64_t out_pair, out_step;
  const char*
      b;  // of the next panel of b: lines b, b + 64, b + b_pair and its neighbour, then b_step further
  int64_t b_pair, b_step;
  const char* a;       // of the next block of a, line by line
  const char* stream;  // of the next panel of b where few tiles share it: that many lines for each 16 k
  int64_t stream_lines = 0;
};

}  // namespace greenkernels::cpu
