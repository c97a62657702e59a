// Direct convolution: any filter, stride, padding, dilation and groups. The contract every backend obeys:
//
//   out[n, k, y, x] = act(bias[k] + skip_scale * skip[n, k, y, x]
//                         + sum over c, i, j of weight[k, c, i, j]
//                           * input[n, g * group_in_c + c, y * stride_h + i * dilation_h - pad_h,
//                                                          x * stride_w + j * dilation_w - pad_w])
//
// with g = k / group_out_c, c < group_in_c, and input = 0 outside of its map. Computed as a matrix product of
// the gathered input pixels and the packed weight. Exactness: the rounding of one sum over group_in_c *
// kernel_h * kernel_w products; denormal numbers count as 0. Sources: Chellapilla, Puri and Simard, "High
// Performance Convolutional Neural Networks for Document Processing", IWFHR 2006 (convolution as a matrix
// product), of whose matrix only blocks exist here, as in Chetlur et al., "cuDNN: Efficient Primitives for
// Deep Learning", 2014.
#pragma once

#include <cstdint>

#include "api/activation.h"
#include "api/map_layout.h"

namespace greenkernels {

// The packed weight, for each group in panels of kDirectPanel output channels:
//   [group][panel][tap = kernel row * kernel_w + column][in_c of the group][width of the panel]
// The last panel of a group is 16 wide if 16 channels or fewer are left for it; channels past the group's
// last are 0. One layout for all instruction sets, so that a packed weight survives a change of machine.
inline constexpr int64_t kDirectPanel = 32;
inline constexpr int64_t kDirectHalfPanel = 16;

// What the weight [out_c, group_in_c, kernel_h, kernel_w] of a convolution looks like.
struct DirectFilter {
  int64_t out_c, group_in_c, kernel_h, kernel_w;  // all >= 0; kernel sizes >= 1
  int64_t groups;                                 // >= 1, divides out_c

  constexpr int64_t taps() const { return kernel_h * kernel_w; }
  constexpr int64_t depth() const { return taps() * group_in_c; }  // products in an output value
  constexpr int64_t group_out_c() const { return out_c / groups; }
  constexpr int64_t padded_group_out_c() const {
    return (group_out_c() + kDirectHalfPanel - 1) / kDirectHalfPanel * kDirectHalfPanel;
  }
  constexpr int64_t packed_size() const { return groups * depth() * padded_group_out_c(); }  // elements
};

template <typename T>
struct DirectPackArgs {
  const T* weight;  // [out_c, group_in_c, kernel_h, kernel_w] row-major
  T* packed;        // [filter.packed_size()], 64-byte aligned
  DirectFilter filter;
};

template <typename T>
struct DirectConv2dArgs {
  const T* input;   // [batch, in_c, h, w] in input_layout
  const T* packed;  // written by direct_conv2d_pack for the same filter
  const T* bias;    // [out_c], or nullptr for none
  const T* skip;    // [batch, out_c, out_h, out_w] in out_layout, or nullptr for none
  T* out;           // [batch, out_c, out_h, out_w] in out_layout; every element is written; aliases only skip
  Activation activation;      // applied last
  const T* activation_param;  // [1] or [out_c], as activation_params() says; nullptr where it takes none
  int64_t activation_params;  // elements of activation_param: 0, 1 or out_c
  double skip_scale;
  MapLayout input_layout, out_layout;
  DirectFilter filter;
  int64_t batch, h, w;             // all >= 0
  int64_t pad_h, pad_w;            // >= 0
  int64_t stride_h, stride_w;      // >= 1
  int64_t dilation_h, dilation_w;  // >= 1

  constexpr int64_t in_c() const { return filter.group_in_c * filter.groups; }
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
void direct_conv2d_pack(const DirectPackArgs<float>& args);
void direct_conv2d_pack(const DirectPackArgs<double>& args);
void direct_conv2d(const DirectConv2dArgs<float>& args);
void direct_conv2d(const DirectConv2dArgs<double>& args);
}  // namespace cpu

namespace cuda {
// All put their work into `stream`, a cudaStream_t, and return at once: a cudaError_t, 0 for success. Every
// pointer is memory of that stream's device. Denormal numbers count. float is where speed is looked for;
// double is simple and right.
int direct_conv2d_pack(const DirectPackArgs<float>& args, void* stream);
int direct_conv2d_pack(const DirectPackArgs<double>& args, void* stream);
// Elements of scratch memory, 16-byte aligned, that direct_conv2d wants on the current device for the same
// args.
int64_t direct_conv2d_scratch(const DirectConv2dArgs<float>& args);
int64_t direct_conv2d_scratch(const DirectConv2dArgs<double>& args);
int direct_conv2d(const DirectConv2dArgs<float>& args, float* scratch, void* stream);
int direct_conv2d(const DirectConv2dArgs<double>& args, double* scratch, void* stream);
}  // namespace cuda

}  // namespace greenkernels
