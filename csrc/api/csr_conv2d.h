// Convolution with an unstructured sparse filter. The contract every backend obeys:
//
//   out[b, j, y, x] = bias[j] + sum over the nonzeros p of output channel j of
//                         values[p] * input[b, c, y * stride_h + r * dilation_h - pad_h,
//                                                 x * stride_w + s * dilation_w - pad_w]
//
// with (c, r, s) the place of p in the filter and input = 0 outside of its map. Computed as csr_matmul does,
// on strips of output pixels: only a strip of the matrix of gathered pixels exists. Exactness: as
// csr_matmul.h. Source: Park et al., "Faster CNNs with Direct Sparse Convolutions and Guided Pruning", ICLR
// 2017 (a nonzero times a run of pixels).
#pragma once

#include <cstdint>

#include "api/csr_matmul.h"

namespace greenkernels {

struct CsrConv2dArgs {
  const float* input;  // [batch, in_c, h, w] row-major
  const void* packed;  // csr_matmul_pack of the filter as [out_c, in_c * kernel_h * kernel_w], format kPanels
  const float* bias;   // [out_c], or nullptr for none
  float* out;          // [batch, out_c, out_h, out_w] row-major; every element is written; aliases no input
  CsrShape shape;      // n = out_c, k = in_c * kernel_h * kernel_w
  CsrLayout layout;    // csr_layout(shape, kCsrConvBatch)
  int64_t batch, in_c, h, w, out_h, out_w;  // all >= 0
  int64_t kernel_h, kernel_w;               // >= 1
  int64_t pad_h, pad_w;                     // >= 0
  int64_t stride_h, stride_w;               // >= 1
  int64_t dilation_h, dilation_w;           // >= 1
};

// The batch that the layout of a filter is chosen for: pixels are never few.
inline constexpr int64_t kCsrConvBatch = 64;

namespace cpu {
// Runs on the intra-op threads with the widest instruction set of this CPU.
void csr_conv2d(const CsrConv2dArgs& args);
}  // namespace cpu

}  // namespace greenkernels
