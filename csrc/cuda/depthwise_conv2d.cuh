// depthwise_conv2d on CUDA: packing, the choice of a kernel, and the one that takes any filter and float64: a
// thread an output element. Neighbouring threads have neighbours in memory, and what they share of the input
// a cache holds.
#pragma once

#include "api/depthwise_conv2d.h"
#include "cuda/conv_output.cuh"
#include "cuda/depthwise_tile.cuh"

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
cudaError_t launch_depthwise_plain(const DepthwiseConv2dArgs<T>& args, cudaStream_t stream) {
  const int64_t size = args.batch * args.filter.channels * args.out_h() * args.out_w();
  if (size == 0) return cudaSuccess;
  return launch(depthwise_kernel<T>, depthwise_grid(size), dim3(kDepthwiseThreads), 0, stream, args);
}

// The fastest of 4 to 14 shapes each on an H100 (docs/performance.md). More rows share more of the input, and
// larger filters leave registers for fewer; kBlocks is what a multiprocessor should hold.
template <int kKernel, int kStride, bool kPlanes, int kVector>
struct DepthwiseChoice {
  static constexpr bool kSmall = kKernel == 3, kLarge = kKernel == 7, kSlides = kStride == 1;
  static constexpr int kPlaneRows = kVector == 1 || kLarge ? 2 : 4, kPlaneColumns = kLarge && kSlides ? 8 : 4;
  static constexpr int kPixelRows = kSmall ? 4 : kLarge && kVector == 4 ? 1 : 2;
  static constexpr int kPixelColumns = kVector == 1 ? 4 : kSmall ? 2 : kLarge && !kSlides ? 4 : 7;

  static constexpr int kRows = !kSlides ? 1 : kPlanes ? kPlaneRows : kPixelRows;
  static constexpr int kColumns = kPlanes ? kPlaneColumns : kPixelColumns;
  static constexpr int kBlocks = kPlanes ? kLarge ? 8 : 4 : kVector == 4 && kSlides && !kLarge ? 3 : 4;
  using Tile = DepthwiseTile<kKernel, kStride, kPlanes, kVector, kRows, kColumns>;
};

template <int kKernel, int kStride, bool kPlanes, int kVector>
cudaError_t launch_depthwise_tiles(const DepthwiseConv2dArgs<float>& args, cudaStream_t stream) {
  using Choice = DepthwiseChoice<kKernel, kStride, kPlanes, kVector>;
  const DepthwisePlan plan = depthwise_plan<typename Choice::Tile>(args);
  return launch(depthwise_tile_kernel<typename Choice::Tile, Choice::kBlocks>, dim3(unsigned(plan.blocks())),
                dim3(kDepthwiseTileThreads), 0, stream, args, plan);
}

template <int kKernel, int kStride>
cudaError_t launch_depthwise_filter(const DepthwiseConv2dArgs<float>& args, cudaStream_t stream) {
  const bool vector = depthwise_loads_vectors(args);
  if (args.input_layout == MapLayout::kNchw) {
    return vector ? launch_depthwise_tiles<kKernel, kStride, true, 4>(args, stream)
                  : launch_depthwise_tiles<kKernel, kStride, true, 1>(args, stream);
  }
  return vector ? launch_depthwise_tiles<kKernel, kStride, false, 4>(args, stream)
                : launch_depthwise_tiles<kKernel, kStride, false, 1>(args, stream);
}

inline cudaError_t launch_depthwise_conv2d(const DepthwiseConv2dArgs<double>& args, cudaStream_t stream) {
  return launch_depthwise_plain(args, stream);
}

inline cudaError_t launch_depthwise_conv2d(const DepthwiseConv2dArgs<float>& args, cudaStream_t stream) {
  if (!depthwise_has_tiles(args)) return launch_depthwise_plain(args, stream);
  switch (args.filter.kernel_w * 2 + args.stride_w) {
    case 3 * 2 + 1:
      return launch_depthwise_filter<3, 1>(args, stream);
    case 3 * 2 + 2:
      return launch_depthwise_filter<3, 2>(args, stream);
    case 5 * 2 + 1:
      return launch_depthwise_filter<5, 1>(args, stream);
    case 5 * 2 + 2:
      return launch_depthwise_filter<5, 2>(args, stream);
    case 7 * 2 + 1:
      return launch_depthwise_filter<7, 1>(args, stream);
    default:
      return launch_depthwise_filter<7, 2>(args, stream);
  }
}

}  // namespace greenkernels::cuda
