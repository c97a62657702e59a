// The stages of sgemm at the instruction set in use, for its own host side and for the stems built on it.
#pragma once

#include "cpu/sgemm/product.h"

namespace greenkernels::cpu {

template <typename T>
struct SgemmStages {
  int64_t max_rows;  // of the micro-kernel
  // Computes a share of a product; scratch: sizes.size() elements, 64-byte aligned.
  void (*multiply)(const SgemmProduct<T>& p, const SgemmShare& share, const SgemmBlocks& blocks,
                   const SgemmScratch& sizes, T* scratch);
  // Rows [row, row + width) and depth [d, d + depth) of an operand to [depth][width], width 16 or 32.
  void (*pack_panel)(const SgemmOperand<T>& b, int64_t row, int64_t width, int64_t d, int64_t depth, T* to);
};

template <typename T>
SgemmStages<T> sgemm_stages_in_use();
template <>
SgemmStages<float> sgemm_stages_in_use();
template <>
SgemmStages<double> sgemm_stages_in_use();

// Packs operands of n rows and depth k as api/sgemm.h says, one behind the other, shared out over the
// threads.
template <typename T>
void sgemm_pack_operands(const SgemmOperand<T>* b, int64_t count, int64_t n, int64_t k, T* packed);

// Computes `count` products of the same sizes, shared out over the threads: each thread does its part of all
// of them in their order, so that they may go to the same parts of the output. Sums go on top of what the
// output holds where that counts.
template <typename T>
void sgemm_multiply(const SgemmProduct<T>* products, int64_t count);

// out = beta * out + bias, in place, for sums that start from it.
template <typename T>
void sgemm_scale(const SgemmArgs<T>& args);

}  // namespace greenkernels::cpu
