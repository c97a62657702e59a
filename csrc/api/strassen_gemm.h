// Dense matrix product by Strassen's algorithm: what sgemm computes, with 7 products of half the size for 8
// on each of `levels` levels. The contract every backend obeys is that of api/sgemm.h, but for its exactness:
//
//   |out - exact| <= c(levels, k) * eps * max|a| * max|b|,  c about sqrt(k), doubling with each level
//
// (norm-wise: an element that is small beside others of its matrix may lose all of its digits, and NaN or
// infinity spreads to all blocks of the output that a block of the input meets). That is for independent
// roundings; for the worst ones c * eps is e(levels, k) * eps / 2, k rounded up to a multiple of 2^levels:
//
//   e(0, k) = k (k + 1),  e(levels, k) = 12 e(levels - 1, k / 2) + 23 k
//
// Products that go into a block of out have operands of 1 or 2 blocks, 12 times max|a| * max|b| in all; sums
// of operands put 10 k more into them, and the three additions behind them 13 k. Sizes that 2^levels does not
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

namespace cuda {
// All put their work into `stream`, a cudaStream_t, and return at once: a cudaError_t, 0 for success. Every
// pointer is memory of that stream's device; of gemm, batch and out_column must be 1, skip nullptr and k
// below 2^31, and packed 16-byte aligned. Scratch memory: strassen_gemm_scratch elements, 0 for none, 16-byte
// aligned. Sums of blocks are made in one pass over each operand, and out in one over all products. Denormal
// numbers count. double is right, but not fast, as are three levels.
int strassen_gemm_pack(const StrassenPackArgs<float>& args, void* stream);
int strassen_gemm_pack(const StrassenPackArgs<double>& args, void* stream);
int64_t strassen_gemm_scratch(const StrassenGemmArgs<float>& args);
int64_t strassen_gemm_scratch(const StrassenGemmArgs<double>& args);
int strassen_gemm(const StrassenGemmArgs<float>& args, float* scratch, void* stream);
int strassen_gemm(const StrassenGemmArgs<double>& args, double* scratch, void* stream);
}  // namespace cuda

}  // namespace greenkernels
