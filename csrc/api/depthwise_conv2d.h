// Depthwise convolution: every channel with a filter of its own. The contract every backend obeys:
//
//   out[n, c, y, x] = act(bias[c] + skip_scale * skip[n, c, y, x]
//                         + sum over i, j of weight[c, 0, i, j]
//                           * input[n, c, y * stride_h + i * dilation_h - pad_h,
//                                         x * stride_w + j * dilation_w - pad_w])
//
// with input = 0 outside of its map. Exactness: the rounding of one sum over kernel_h * kernel_w products;
// denormal numbers count as 0. Sources: Sifre, "Rigid-Motion Scattering for Image Classification", 2014,
// which introduced it; Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
// Applications", 2017.
#pragma once

#include <cstdint>

#include "api/activation.h"
#include "api/half.h"
#include "api/map_layout.h"

namespace greenkernels {

// The packed weight: [tap = kernel row * kernel_w + column][channels, rounded up to kDepthwiseLanes];
// channels past the last are 0. One layout for all instruction sets, so that a packed weight survives a
// change of machine.
inline constexpr int64_t kDepthwiseLanes = 16;

// What the weight [channels, 1, kernel_h, kernel_w] of a depthwise convolution looks like.
struct DepthwiseFilter {
  int64_t channels, kernel_h, kernel_w;  // channels >= 0; kernel sizes >= 1

  constexpr int64_t taps() const { return kernel_h * kernel_w; }  // products in an output value
  constexpr int64_t padded_channels() const {
    return (channels + kDepthwiseLanes - 1) / kDepthwiseLanes * kDepthwiseLanes;
  }
  constexpr int64_t packed_size() const { return taps() * padded_channels(); }  // elements
};

template <typename T>
struct DepthwisePackArgs {
  const T* weight;  // [channels, 1, kernel_h, kernel_w] row-major
  T* packed;        // [filter.packed_size()], 64-byte aligned
  DepthwiseFilter filter;
};

// T is computed in, S is what maps are stored in: T, or for T = float a type of api/half.h.
template <typename T, typename S = T>
struct DepthwiseConv2dArgs {
  const S* input;   // [batch, channels, h, w] in input_layout
  const T* packed;  // written by depthwise_conv2d_pack for the same filter
  const T* bias;    // [channels], or nullptr for none
  const S* skip;    // [batch, channels, out_h, out_w] in out_layout, or nullptr for none
  S* out;  // [batch, channels, out_h, out_w] in out_layout; every element is written; aliases only skip
  Activation activation;      // applied last
  const T* activation_param;  // [1] or [channels], as activation_params() says; nullptr where it takes none
  int64_t activation_params;  // elements of activation_param: 0, 1 or channels
  double skip_scale;
  MapLayout input_layout, out_layout;
  DepthwiseFilter filter;
  int64_t batch, h, w;             // all >= 0
  int64_t pad_h, pad_w;            // >= 0
  int64_t stride_h, stride_w;      // >= 1
  int64_t dilation_h, dilation_w;  // >= 1

  constexpr int64_t out_h() const { return out_size(h, pad_h, filter.kernel_h, stride_h, dilation_h); }
  constexpr int64_t out_w() const { return out_size(w, pad_w, filter.kernel_w, stride_w, dilation_w); }

  // 0 where the map with its padding does not hold the filter.
  static constexpr int64_t out_size(int64_t in, int64_t pad, int64_t kernel, int64_t stride,
                                    int64_t dilation) {
    const int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
  }
};

namespace cpu {
// All run on the intra-op threads with the widest instruction set of this CPU; double runs on the scalar
// level.
void depthwise_conv2d_pack(const DepthwisePackArgs<float>& args);
void depthwise_conv2d_pack(const DepthwisePackArgs<double>& args);
void depthwise_conv2d(const DepthwiseConv2dArgs<float>& args);
void depthwise_conv2d(const DepthwiseConv2dArgs<double>& args);
void depthwise_conv2d(const DepthwiseConv2dArgs<float, BFloat16>& args);
void depthwise_conv2d(const DepthwiseConv2dArgs<float, Float16>& args);
}  // namespace cpu

namespace cuda {
// All put their work into `stream`, a cudaStream_t, and return at once: a cudaError_t, 0 for success. Every
// pointer is memory of that stream's device. Denormal numbers count. Square filters of 3, 5 and 7 with
// strides of 1 and 2 are fast in float; all else is simple and right.
int depthwise_conv2d_pack(const DepthwisePackArgs<float>& args, void* stream);
int depthwise_conv2d_pack(const DepthwisePackArgs<double>& args, void* stream);
int depthwise_conv2d(const DepthwiseConv2dArgs<float>& args, void* stream);
int depthwise_conv2d(const DepthwiseConv2dArgs<double>& args, void* stream);
}  // namespace cuda

}  // namespace greenkernels
