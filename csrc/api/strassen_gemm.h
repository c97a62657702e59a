// Dense matrix product by Strassen's algorithm: what sgemm computes, with 7 products of half the size for 8
// on each of `levels` levels. The contract every backend obeys is that of api/sgemm.h, but for its exactness:
//
//   |out - exact| <= c(levels, k) * eps * max|a| * max|b|,  c about sqrt(k), doubling with each level
//
// (norm-wise: an element that is small beside others of its matrix may lose all of its digits, and NaN or
// infinity spreads to all blocks of the output that a block of the input meets). Sizes that 2^levels does not
// divide are padded with zeros while packing. Sources: Strassen, "Gaussian Elimination is not Optimal",
// Numerische Mathematik 13, 1969; Huang, Smith, Henry and van de Geijn, "Strassen's Algorithm Reloaded", SC
// 2016 (sums while packing and in the micro-kernel's write-back); Higham, "Accuracy and Stability of
// Numerical Algorithms", section 23.2 (error).
#pragma once

#include "api/sgemm.h"

namespace greenkernels {

inline constexpr int kMaxStrassenLevels = 3;

// Products of `levels` levels.
inline constexpr int64_t strassen_products(int levels) {
  int64_t count = 1;
  for (int i = 0; i < levels; ++i) count *= 7;
  return count;
}

// A dimension of the blocks that are multiplied: size / 2^levels, rounded up.
inline constexpr int64_t strassen_block(int64_t size, int levels) {
  return (size + (int64_t{1} << levels) - 1) >> levels;
}

// Elements of a packed weight [n, k]: for each product its sum of blocks, packed as api/sgemm.h says.
inline constexpr int64_t strassen_packed_size(int64_t n, int64_t k, int levels) {
  return strassen_products(levels) * sgemm_padded_columns(strassen_block(n, levels)) *
         strassen_block(k, levels);
}

template <typename T>
struct StrassenPackArgs {
  SgemmPackArgs<T> weight;  // packed: [strassen_packed_size(n, k, levels)]
  int levels;               // 0..kMaxStrassenLevels
};

template <typename T>
struct StrassenGemmArgs {
  SgemmArgs<T> gemm;  // packed, where set, as strassen_gemm_pack leaves it for the same levels
  int levels;         // 0..kMaxStrassenLevels; 0 is sgemm
};

namespace cpu {
// All run on the intra-op threads with the widest instruction set of this CPU; double runs on the scalar
// level.
void strassen_gemm_pack(const StrassenPackArgs<float>& args);
void strassen_gemm_pack(const StrassenPackArgs<double>& args);
void strassen_gemm(const StrassenGemmArgs<float>& args);
void strassen_gemm(const StrassenGemmArgs<double>& args);
}  // namespace cpu

}  // namespace greenkernels
