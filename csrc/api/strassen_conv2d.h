// Convolution with a filter of one pixel, stride 1 and no padding. The contract every backend obeys:
//
//   out[x, j, p] = act(bias[j] + skip_scale * skip[x, j, p]
//                      + sum over c < in_c of weight[j, c] * input[x, c, p])
//
// for each pixel p of the map: a product of matrices, by sgemm (levels 0) or with levels of Strassen's
// algorithm. Exactness, sources and what levels do are those of api/sgemm.h and api/strassen_gemm.h.
#pragma once

#include "api/map_layout.h"
#include "api/strassen_gemm.h"

namespace greenkernels {

template <typename T>
struct StrassenConv2dArgs {
  const T* input;         // [batch, in_c, h, w] in input_layout
  const T* packed;        // the weight [out_c, in_c], written by strassen_gemm_pack for the same levels
  const T* bias;          // [out_c], or nullptr for none
  const T* skip;          // [batch, out_c, h, w] in out_layout, or nullptr for none
  T* out;                 // [batch, out_c, h, w] in out_layout; every element is written; aliases only skip
  Activation activation;  // applied last
  const T* activation_param;  // [1] or [out_c]; nullptr where the activation takes none
  int64_t activation_params;  // elements of activation_param: 0, 1 or out_c
  double skip_scale;
  MapLayout input_layout, out_layout;
  int64_t in_c, out_c, batch, h, w;  // all >= 0
  int levels;                        // 0..kMaxStrassenLevels
};

namespace cpu {
// Both run on the intra-op threads with the widest instruction set of this CPU; double runs on the scalar
// level.
void strassen_conv2d(const StrassenConv2dArgs<float>& args);
void strassen_conv2d(const StrassenConv2dArgs<double>& args);
}  // namespace cpu

}  // namespace greenkernels
