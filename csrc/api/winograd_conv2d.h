// Winograd convolution: 3x3 filters, stride 1, dilation 1, groups 1. The contract every backend obeys:
//
//   out[n, k, y, x] = act(bias[k] + skip_scale * skip[n, k, y, x]
//                         + sum over c, i, j of weight[k, c, i, j] * input[n, c, y + i - pad_h, x + j -
//                         pad_w])
//
// with input = 0 outside of its map. Computed tile by tile as F(m x m, 3 x 3) of winograd_transforms.h, m =
// tile: m^2 outputs cost (m + 2)^2 multiplications a channel instead of 9 m^2. Exactness: rounding as of
// float arithmetic, amplified by the transforms (about 2x, 5x, 17x of direct convolution's for m = 2, 4, 6);
// denormal numbers count as 0. Maps of 16-bit numbers are computed in float and rounded once, at the end. A
// NaN or infinity in input spreads over the output tiles whose input tile holds it. Source: Lavin and Gray,
// "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.
#pragma once

#include <cstdint>

#include "api/activation.h"
#include "api/half.h"
#include "api/map_layout.h"

namespace greenkernels {

// The transformed weight, in panels of kWinogradPanel output channels:
//   [panel][tap = alpha * row + column of G g G^T][in_c][width of the panel]
// The last panel is 16 wide if 16 channels or fewer are left for it; channels past out_c are 0. One layout
// for all instruction sets, so that a packed weight survives a change of machine.
inline constexpr int64_t kWinogradPanel = 32;
inline constexpr int64_t kWinogradHalfPanel = 16;

constexpr int64_t winograd_padded_out_c(int64_t out_c) {
  return (out_c + kWinogradHalfPanel - 1) / kWinogradHalfPanel * kWinogradHalfPanel;
}

// Number of elements of the packed weight.
constexpr int64_t winograd_packed_size(int64_t out_c, int64_t in_c, int tile) {
  return int64_t{tile + 2} * (tile + 2) * in_c * winograd_padded_out_c(out_c);
}

template <typename T>
struct WinogradPackArgs {
  const T* weight;  // [out_c, in_c, 3, 3] row-major
  T* packed;        // [winograd_packed_size(out_c, in_c, tile)], 64-byte aligned
  int64_t out_c, in_c;
  int tile;              // m: 2, 4 or 6
  bool rotated = false;  // weight is [in_c, out_c, 3, 3], and each filter is read turned by 180 degrees
};

// T is computed in, S is what maps are stored in: T, or for T = float a type of api/half.h.
template <typename T, typename S = T>
struct WinogradConv2dArgs {
  const S* input;   // [batch, in_c, h, w] in input_layout
  const T* packed;  // written by winograd_conv2d_pack with the same out_c, in_c, tile
  const T* bias;    // [out_c], or nullptr for none
  const S* skip;    // [batch, out_c, out_h, out_w] in out_layout, or nullptr for none
  S* out;           // [batch, out_c, out_h, out_w] in out_layout; every element is written; aliases only skip
  Activation activation;      // applied last
  const T* activation_param;  // [1] or [out_c], as activation_params() says; nullptr where it takes none
  int64_t activation_params;  // elements of activation_param: 0, 1 or out_c
  double skip_scale;
  MapLayout input_layout, out_layout;
  int64_t batch, in_c, out_c;  // all >= 0
  int64_t h, w, pad_h, pad_w;  // all >= 0; out_h and out_w below must not be negative
  int tile;                    // m: 2, 4 or 6

  constexpr int64_t out_h() const { return h + 2 * pad_h - 2; }
  constexpr int64_t out_w() const { return w + 2 * pad_w - 2; }
};

// The gradients. That of the input is a convolution again: of the gradient of out with the weight packed
// `rotated`, and padding 2 - pad. That of the weight is a sum over all tiles of the batch,
//
//   grad_weight[k, c, i, j] = sum over n, y, x of grad[n, k, y, x] * input[n, c, y + i - pad_h, x + j -
//   pad_w]
//                           = G^T [ sum over tiles of (A dY A^T) * (B^T d B) ] G
//
// with d and dY the tiles of input and of grad, 0 outside of their maps: (m + 2)^2 multiplications a tile
// instead of 9 m^2. Exactness: as above, amplified about 2x, 7x for m = 2, 4. It would be 26x
// for m = 6, which is why there is none.
template <typename T, typename S = T>
struct WinogradWeightGradArgs {
  const S* input;  // [batch, in_c, h, w] in input_layout
  const S* grad;   // [batch, out_c, out_h, out_w] in grad_layout
  T* grad_weight;  // [out_c, in_c, 3, 3] row-major; every element is written; aliases no input
  MapLayout input_layout, grad_layout;
  int64_t batch, in_c, out_c;  // all >= 0
  int64_t h, w, pad_h, pad_w;  // all >= 0; out_h and out_w below must not be negative
  int tile;                    // m: 2 or 4

  constexpr int64_t out_h() const { return h + 2 * pad_h - 2; }
  constexpr int64_t out_w() const { return w + 2 * pad_w - 2; }
};

namespace cpu {
// All run on the intra-op threads with the widest instruction set of this CPU; double runs on the scalar
// level.
void winograd_conv2d_pack(const WinogradPackArgs<float>& args);
void winograd_conv2d_pack(const WinogradPackArgs<double>& args);
void winograd_conv2d(const WinogradConv2dArgs<float>& args);
void winograd_conv2d(const WinogradConv2dArgs<double>& args);
void winograd_conv2d(const WinogradConv2dArgs<float, BFloat16>& args);
void winograd_conv2d(const WinogradConv2dArgs<float, Float16>& args);
// Bitwise the same for the same number of threads; more threads add up in another order.
void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<float>& args);
void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<double>& args);
void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<float, BFloat16>& args);
void winograd_conv2d_weight_grad(const WinogradWeightGradArgs<float, Float16>& args);
}  // namespace cpu

namespace cuda {
// All put their work into `stream`, a cudaStream_t, and return at once: a cudaError_t, 0 for success. Every
// pointer is memory of that stream's device. input_layout must be out_layout, and out not be empty. float
// with tile 2 is one kernel; all else goes through scratch memory: winograd_conv2d_scratch elements, 0 for
// none, 16-byte aligned. double is right, but not fast. Denormal numbers count.
int winograd_conv2d_pack(const WinogradPackArgs<float>& args, void* stream);
int winograd_conv2d_pack(const WinogradPackArgs<double>& args, void* stream);
int64_t winograd_conv2d_scratch(const WinogradConv2dArgs<float>& args);
int64_t winograd_conv2d_scratch(const WinogradConv2dArgs<double>& args);
int winograd_conv2d(const WinogradConv2dArgs<float>& args, float* scratch, void* stream);
int winograd_conv2d(const WinogradConv2dArgs<double>& args, double* scratch, void* stream);
}  // namespace cuda

}  // namespace greenkernels
