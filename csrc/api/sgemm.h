// Dense matrix product with bias, skip connection and activation. The contract every backend obeys, for each
// item x of the batch:
//
//   out[x, i, j] = act(bias[j] + beta * out[x, i, j] + skip_scale * skip[x, i, j]
//                      + sum over d < k of a[x, i, d] * b[x, j, d])
//
// b is the weight of a linear layer, [n, k]; with the strides of the arguments it may lie in memory either
// way round, and so may a. Exactness: the rounding of one sum over k products, taken in slices of
// kSgemmSlice; denormal numbers count as 0. With beta = 0 the old out is not read. Sources: Goto and van de
// Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008; Van Zee and van de Geijn,
// "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", ACM TOMS 41(3), 2015.
#pragma once

#include <cstdint>

#include "api/activation.h"

namespace greenkernels {

// The packed weight: slices of the depth, each in panels of kSgemmPanel columns:
//   [slice][panel][d of the slice][width of the panel]
// The last panel is 16 wide if 16 columns or fewer are left for it; columns past the last are 0. A panel of a
// slice, 32 KiB of float32, stays in L1 while it is multiplied with the rows of a. One layout for all
// instruction sets, so that a packed weight survives a change of machine.
inline constexpr int64_t kSgemmSlice = 256;
inline constexpr int64_t kSgemmPanel = 32;
inline constexpr int64_t kSgemmHalfPanel = 16;

// Columns of all panels, for n of the matrix.
inline constexpr int64_t sgemm_padded_columns(int64_t n) {
  return (n + kSgemmHalfPanel - 1) / kSgemmHalfPanel * kSgemmHalfPanel;
}

template <typename T>
struct SgemmPackArgs {
  const T* b;          // element (j, d) at b[j * row_stride + d * depth_stride]
  T* packed;           // [sgemm_padded_columns(n) * k], 64-byte aligned
  int64_t row_stride;  // of b; one of the strides is 1
  int64_t depth_stride;
  int64_t n, k;  // all >= 0
};

template <typename T>
struct SgemmArgs {
  const T* a;       // element (x, i, d) at a[x * a_batch + i * a_row + d * a_depth]; a_row or a_depth is 1
  const T* b;       // element (x, j, d) at b[x * b_batch + j * b_row + d * b_depth]; b_row or b_depth is 1
  const T* packed;  // written by sgemm_pack, then b is not read and all items share it; or nullptr
  const T* bias;    // [n], or nullptr for none
  T* out;           // element (x, i, j) at out[x * out_batch + i * out_row + j * out_column]; aliases no
                    // input
  Activation activation;            // applied last
  const T* activation_param;        // [1] or [n]; nullptr where the activation takes none
  int64_t activation_params;        // elements of activation_param: 0, 1 or n
  T beta;                           // 0: out is written, whatever it held
  int64_t batch, m, n, k;           // all >= 0
  int64_t a_batch, a_row, a_depth;  // strides in elements; those of the batch may be 0
  int64_t b_batch, b_row, b_depth;
  int64_t out_batch, out_row;
  int64_t out_column = 1;   // it or out_row is 1
  const T* skip = nullptr;  // with the strides of out, which it may not alias; or nullptr for none
  T skip_scale = 1;
};

namespace cpu {
// All run on the intra-op threads with the widest instruction set of this CPU; double runs on the scalar
// level.
void sgemm_pack(const SgemmPackArgs<float>& args);
void sgemm_pack(const SgemmPackArgs<double>& args);
void sgemm(const SgemmArgs<float>& args);
void sgemm(const SgemmArgs<double>& args);
}  // namespace cpu

namespace cuda {
// Puts the product into `stream`, a cudaStream_t, and returns at once: a cudaError_t, 0 for success. Every
// pointer is memory of that stream's device; args.packed and args.skip must be nullptr, out_column 1 and k
// below 2^31. Denormal numbers count. double is right, but not fast. Where there are too few tiles of out for
// the current device, the depth is cut into parts that are added up in order, through scratch memory of
// sgemm_scratch elements, 16-byte aligned; with nullptr, or 0 of them, it is not.
int64_t sgemm_scratch(const SgemmArgs<float>& args);
int64_t sgemm_scratch(const SgemmArgs<double>& args);
int sgemm(const SgemmArgs<float>& args, float* scratch, void* stream);
int sgemm(const SgemmArgs<double>& args, double* scratch, void* stream);

// The same by tensor cores, which multiply numbers of 11 bits (TF32): each factor is split into two of them,
// x = high + low, and high * high + high * low + low * high is summed. What that leaves out of a product is
// at most 2^-21 of it: low is at most 2^-11 of x and loses at most 2^-23 of x. Tensor cores sum 16 products
// and cut off at most 40 * 2^-24 of their magnitudes; all else is added in float32, from 4096 products to
// 4096 to out. So with u = 2^-24 the error is at most
//
//   (ceil(min(k, 4096) / 16) + ceil(k / 4096) + 52) * u
//
// times the sum of all magnitudes, |a| * |b|, |bias| and |beta * out|, where sgemm has k + 3 for the bracket.
// Factors below 2^-113 lose what lies below 2^-136. NaN stays NaN; infinity, and what is at least
// (1 - 2^-12) * 2^128, makes every element that it goes into NaN. Source: Ootomo and Yokota, "Recovering
// single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance", IJHPCA
// 36(4), 2022.
int sgemm_tf32x3(const SgemmArgs<float>& args, void* stream);
}  // namespace cuda

}  // namespace greenkernels
