// A level of Strassen's algorithm with memory of its own, around those of which the sums are fused into
// packing and write-back.
#pragma once

#include "api/strassen_gemm.h"
#include "cpu/sgemm/product.h"

namespace greenkernels::cpu {

// Bytes of both operands and the output of a product, from which on the level around it is done apart: as
// much as does not stay in L3 from one product to the next. 4096 of 8192 in two levels, 2 threads: 369 GF/s
// so, 359 fused; 2048 of 4096: 308 so, 322 fused (L3 of 260 MiB shared with other machines).
inline constexpr int64_t kStrassenApartBytes = 128 << 20;

// strassen_gemm with that number given, so that tests need no large matrices.
template <typename T>
void strassen_run(const StrassenGemmArgs<T>& args, int64_t apart_bytes);

// Computes the products of one level on sums that were made before, each with `levels` further levels. The
// output has rows with adjacent columns and neither skip connection nor activation.
template <typename T>
void strassen_multiply_apart(const SgemmProduct<T>* products, int64_t count, int levels, int64_t apart_bytes);

}  // namespace greenkernels::cpu
