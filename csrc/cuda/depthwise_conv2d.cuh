// depthwise_conv2d on CUDA: a thread an output element. Neighbouring threads have neighbours in memory, and
// what they share of the input a cache holds.
#pragma once

#include "api/depthwise_conv2d.h"
#include "cuda/conv_output.cuh"

namespace greenkernels::cuda {

inline constexpr int kDepthwiseThreads = 256;

inline dim3 depthwise_grid(int64_t size) {
  const int64_t blocks = blocks_for(size, kDepthwiseThreads);
  return dim3(unsigned(blocks < INT32_MAX ? blocks : INT32_MAX));
}

template <typename T>
__global__ void __launch_bounds__(kDepthwiseThreads) depthwise_pack_kernel(DepthwisePackArgs<T> args) {
  const int64_t step = int64_t{gridDim.x} * kDepthwiseThreads, padded = args.filter.padded_channels();
  for (int64_t i = int64_t{blockIdx.x} * kDepthwiseThreads + threadIdx.x; i < args.filter.packed_size();
       i += step) {
    const int64_t c = i % padded;
    args.packed[i] = c < args.filter.channels ? args.weight[c * args.filter.taps() + i / padded] : T(0);
  }
}

template <typename T>
__global__ void __launch_bounds__(kDepthwiseThreads) depthwise_kernel(DepthwiseConv2dArgs<T> args) {
  const int64_t out_h = args.out_h(), out_w = args.out_w(), channels = args.filter.channels;
  const int64_t size = args.batch * channels * out_h * out_w, step = int64_t{gridDim.x} * kDepthwiseThreads;
  const bool last = args.out_layout == MapLayout::kNhwc;
  for (int64_t i = int64_t{blockIdx.x} * kDepthwiseThreads + threadIdx.x; i < size; i += step) {
    const int64_t pixel = last ? i / channels : i;  // in NCHW with its channel and image above
    const int64_t x = pixel % out_w, y = pixel / out_w % out_h, above = pixel / out_w / out_h;
    const int64_t c = last ? i % channels : above % channels, n = last ? above : above / channels;
    const T* weight = args.packed + c;
    T sum = 0;
    for (int64_t tap_y = 0; tap_y < args.filter.kernel_h; ++tap_y) {
      const int64_t from_y = y * args.stride_h + tap_y * args.dilation_h - args.pad_h;
      for (int64_t tap_x = 0; tap_x < args.filter.kernel_w;
           ++tap_x, weight += args.filter.padded_channels()) {
        const int64_t from_x = x * args.stride_w + tap_x * args.dilation_w - args.pad_w;
        if (from_y < 0 || from_y >= args.h || from_x < 0 || from_x >= args.w) continue;
        sum += *weight *
               args.input[map_index(args.input_layout, n, c, from_y, from_x, channels, args.h, args.w)];
      }
    }
    args.out[i] = conv_output(args, sum, c, i);
  }
}

template <typename T>
cudaError_t launch_depthwise_conv2d_pack(const DepthwisePackArgs<T>& args, cudaStream_t stream) {
  if (args.filter.packed_size() == 0) return cudaSuccess;
  return launch(depthwise_pack_kernel<T>, depthwise_grid(args.filter.packed_size()), dim3(kDepthwiseThreads),
                0, stream, args);
}

template <typename T>
cudaError_t launch_depthwise_conv2d(const DepthwiseConv2dArgs<T>& args, cudaStream_t stream) {
  const int64_t size = args.batch * args.filter.channels * args.out_h() * args.out_w();
  if (size == 0) return cudaSuccess;
  return launch(depthwise_kernel<T>, depthwise_grid(size), dim3(kDepthwiseThreads), 0, stream, args);
}

}  // namespace greenkernels::cuda
