// int8 convolution with 3x3 filters, stride 1, by Winograd's F(2x2, 3x3): 16 integer products where the
// direct way takes 36. The contract every backend obeys, for each tile of 4x4 input values that 2x2 output
// values depend on, with tap t = 4 * row + column of the transformed tile:
//
//   v = B^T d B                                                                        float32, each channel
//   q[t, c], scale[t], zero[t]: the values v[t, :] of all channels, quantized as api/int8_gemm.h says of a
//   row sums[t, k] = sum over c of (q[t, c] - zero[t]) * weight[t, k, c]                    exact, integer
//   y[k] = A^T p A,  p[t] = scale[t] * weight_scale[t, k] * sums[t, k]                  float32
//   out[n, k, y, x] = act(y + bias[k] + skip_scale * skip[n, k, y, x])
//
// B^T and A^T are those of Lavin and Gray, of 0, 1 and -1 alone:
//
//   B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]    A^T = [1 1 1 0; 0 1 -1 -1]
//
// A tile that sees a NaN or an infinity comes out as NaN. Denormal numbers count as 0.
//
// Sources: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4; Andri
// et al., "Going Further With Winograd Convolutions: Tap-Wise Quantization for Efficient Inference on 4x4
// Tiles", MICRO 2022 (a scale for every tap; here for every tap of every tile).
#pragma once

#include <cstdint>

#include "api/activation.h"
#include "api/int8_gemm.h"

namespace greenkernels {

inline constexpr int64_t kInt8WinogradTaps = 16;

struct Int8WinogradArgs {
  const float* input;         // [batch, h, w, in_c]: channels innermost, as skip and out have them
  const int8_t* packed;       // [16] of what int8_gemm_pack makes of [out_c, in_c], the quantized taps
  const float* weight_scale;  // [16, out_c] real value of one step of each tap of each filter
  const float* bias;          // [out_c], or nullptr for none
  const float* skip;          // [batch, out_h, out_w, out_c], or nullptr for none
  float skip_scale;
  float* out;                     // [batch, out_h, out_w, out_c]; every element is written; aliases only skip
  Activation activation;          // applied last
  const float* activation_param;  // [activation_params], or nullptr where it takes none
  int64_t activation_params;      // 0, 1 or out_c
  int64_t batch, in_c, out_c, h, w;  // all >= 0, in_c <= kInt8Slice
  int64_t pad_h, pad_w;              // >= 0

  int64_t out_h() const { return h + 2 * pad_h - 2; }  // >= 0
  int64_t out_w() const { return w + 2 * pad_w - 2; }
  Int8Weight tap_shape() const { return {out_c, in_c}; }
};

namespace cpu {
// Runs on the intra-op threads with the widest instruction set of this CPU.
void int8_winograd_conv2d(const Int8WinogradArgs& args);
}  // namespace cpu

}  // namespace greenkernels
