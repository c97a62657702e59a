// int8 convolution: integer products of a quantized map with a quantized filter. The contract every backend
// obeys, with g = k / group_out_c and c < group_in_c:
//
//   sums[n, k, y, x] = sum over c, i, j of weight[k, c, i, j]
//                          * (q[n, g * group_in_c + c, y * stride_h + i * dilation_h - pad_h,
//                                                      x * stride_w + j * dilation_w - pad_w] -
//                                                      zero_point[n])
//   out[n, k, y, x] = act(input_scale[n] * weight_scale[k] * sums[n, k, y, x] + bias[k]
//                         + skip_scale * skip[n, k, y, x])                                         float32
//   or, where out_scale is set, clamp(round(out[n, k, y, x] * (1 / out_scale)) + out_zero_point, 0, 255)
//
// Outside of its map q is zero_point[n], so padding adds nothing, exactly. q is the input itself where that
// holds 8-bit integers; a float input is quantized first, as api/int8_gemm.h says of a row. Where no
// input_scale is given for it, every image gets its own, by the same formula with the ends of all its values;
// an image that holds a NaN or an infinity then comes out as NaN. Sums are exact for every depth: int32 up to
// kInt8Slice products, int64 beyond; rounded to float32 once. Denormal numbers count as 0.
//
// Sources: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
// Inference", CVPR 2018 (zero points); Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014
// (convolution as a matrix product of which only blocks exist).
#pragma once

#include <cstdint>

#include "api/activation.h"
#include "api/int8_gemm.h"
#include "api/map_layout.h"

namespace greenkernels {

// Depthwise filters of at most this many rows and columns have a kernel of their own.
inline constexpr int64_t kInt8DepthwiseSize = 32;

// The packed filter: for each group what int8_gemm_pack makes of [group_out_c, tap = kernel row * kernel_w +
// column, in_c of the group]. Of a depthwise filter, what it makes of
//   [channels][kernel column][kernel row, rounded up to a multiple of 4], 0 past the last row,
// so that the four values that a dot product of bytes adds up lie under one column of the filter.
struct Int8Filter {
  int64_t out_c, group_in_c, kernel_h, kernel_w;  // all >= 0; kernel sizes >= 1
  int64_t groups;                                 // >= 1, divides out_c

  int64_t depth() const { return kernel_h * kernel_w * group_in_c; }  // <= kInt8MaxDepth
  int64_t group_out_c() const { return out_c / groups; }
  Int8Weight group_shape() const { return {group_out_c(), depth()}; }
  bool depthwise() const {
    return groups > 1 && group_in_c == 1 && out_c == groups && kernel_h <= kInt8DepthwiseSize &&
           kernel_w <= kInt8DepthwiseSize;
  }
  int64_t row_quads() const { return (kernel_h + 3) / 4; }
  Int8Weight depthwise_shape() const { return {out_c, kernel_w * row_quads() * 4}; }
  int64_t packed_bytes() const {
    return depthwise() ? depthwise_shape().packed_bytes() : groups * group_shape().packed_bytes();
  }
};

struct Int8ConvPackArgs {
  const int8_t* weight;  // [out_c, kernel_h, kernel_w, group_in_c] row-major: input channels innermost
  int8_t* packed;        // [filter.packed_bytes()], 64-byte aligned
  Int8Filter filter;
};

struct Int8Conv2dArgs {
  const void* input;          // [batch, in_c, h, w] in input_layout, of the type that input_type says
  const int8_t* packed;       // written by int8_conv2d_pack for the same filter
  const float* input_scale;   // [input_scales] real value of one step of q; nullptr: sums, or found
  int64_t input_scales;       // 0, 1 or batch
  const int32_t* zero_point;  // [zero_points] what stands for the real 0, in the range of the type of q
  int64_t zero_points;        // 0 (all 0), 1 or batch
  const float* weight_scale;  // [out_c] real value of one step of the filter; nullptr: out is the sums
  const float* bias;          // [out_c], or nullptr for none
  const float* skip;          // [batch, out_c, out_h, out_w] in out_layout, or nullptr for none
  float skip_scale;
  float out_scale;                // real value of one step of an 8-bit out, in kNhwc; 0: out is float or sums
  int32_t out_zero_point;         // of an 8-bit out, in [0, 255]
  void* out;                      // [batch, out_c, out_h, out_w] in out_layout, float, int32 or uint8; every
                                  // element is written; a float out may alias skip, no other does
  Activation activation;          // applied last
  const float* activation_param;  // [activation_params], or nullptr where it takes none
  int64_t activation_params;      // 0, 1 or out_c
  MapLayout input_layout, out_layout;
  Int8Input input_type;
  Int8Filter filter;
  int64_t batch, h, w;             // all >= 0
  int64_t out_h, out_w;            // as DirectConv2dArgs::out_size says
  int64_t pad_h, pad_w;            // >= 0
  int64_t stride_h, stride_w;      // >= 1
  int64_t dilation_h, dilation_w;  // >= 1

  int64_t in_c() const { return filter.group_in_c * filter.groups; }
  Int8Output output() const {
    return !weight_scale ? Int8Output::kSums : out_scale > 0 ? Int8Output::kUint8 : Int8Output::kFloat;
  }
};

namespace cpu {
// Both run on the intra-op threads with the widest instruction set of this CPU.
void int8_conv2d_pack(const Int8ConvPackArgs& args);
void int8_conv2d(const Int8Conv2dArgs& args);
}  // namespace cpu

}  // namespace greenkernels
