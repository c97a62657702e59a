// direct_conv2d on CUDA: a matrix product of gathered input pixels and the packed weight, whose panels have
// the order of its sums. A block owns 64 output pixels and a panel, a thread 2 pixels and 4 channels.
#pragma once

#include "api/direct_conv2d.h"
#include "cuda/conv_output.cuh"

namespace greenkernels::cuda {

inline constexpr int kDirectThreads = 256;
inline constexpr int kDirectPixels = 64;              // output pixels of a block
inline constexpr int kDirectDepth = 16;               // products of a slice
inline constexpr int kDirectRow = kDirectPixels + 2;  // keeps the banks apart of 16 depths of two pixels
static_assert(kDirectThreads == kDirectPixels / 2 * (kDirectPanel / 4));

// Width of the panel whose first channel of its group is `first`.
__device__ inline int panel_width(const DirectFilter& filter, int64_t first) {
  return filter.group_out_c() - first <= kDirectHalfPanel ? int(kDirectHalfPanel) : int(kDirectPanel);
}

template <typename T>
__global__ void __launch_bounds__(kDirectThreads) direct_pack_kernel(DirectPackArgs<T> args) {
  const DirectFilter filter = args.filter;
  const int64_t step = int64_t{gridDim.x} * kDirectThreads;
  const int64_t group_size = filter.depth() * filter.padded_group_out_c();
  for (int64_t i = int64_t{blockIdx.x} * kDirectThreads + threadIdx.x; i < filter.packed_size(); i += step) {
    const int64_t group = i / group_size,
                  first = i % group_size / (filter.depth() * kDirectPanel) * kDirectPanel;
    const int64_t at = i % group_size - first * filter.depth();  // within the panel
    const int width = panel_width(filter, first);
    const int64_t tap = at / width / filter.group_in_c, c = at / width % filter.group_in_c;
    const int64_t k = first + at % width, channel = group * filter.group_out_c() + k;
    const bool exists = k < filter.group_out_c();
    args.packed[i] = exists ? args.weight[(channel * filter.group_in_c + c) * filter.taps() + tap] : T(0);
  }
}

// An output pixel: its image, and where its filter begins in the input. `image` is -1 past the last one.
struct DirectPixel {
  int64_t image, y, x;

  template <typename Args>
  __device__ static DirectPixel at(const Args& args, int64_t index) {
    const int64_t w = args.out_w(), h = args.out_h(), image = index / w / h;
    if (image >= args.batch) return {-1, 0, 0};
    return {image, index / w % h * args.stride_h - args.pad_h, index % w * args.stride_w - args.pad_w};
  }
};

// The input that output pixel `pixel` multiplies at depth d = tap * group_in_c + channel of the group.
template <typename T>
__device__ inline T gathered(const DirectConv2dArgs<T>& args, const DirectPixel& pixel, int64_t group,
                             int64_t d) {
  if (pixel.image < 0 || d >= args.filter.depth()) return T(0);
  const int64_t tap = d / args.filter.group_in_c, c = d % args.filter.group_in_c;
  const int64_t y = pixel.y + tap / args.filter.kernel_w * args.dilation_h;
  const int64_t x = pixel.x + tap % args.filter.kernel_w * args.dilation_w;
  if (y < 0 || y >= args.h || x < 0 || x >= args.w) return T(0);
  const int64_t channel = group * args.filter.group_in_c + c;
  return args.input[map_index(args.input_layout, pixel.image, channel, y, x, args.in_c(), args.h, args.w)];
}

// Block (x, y) owns pixels 64 x .. 64 x + 63, and panel y of all groups' panels.
template <typename T>
__global__ void __launch_bounds__(kDirectThreads, 2)
    direct_kernel(DirectConv2dArgs<T> args, int64_t group_panels) {
  __shared__ T pixels[kDirectDepth][kDirectRow];
  __shared__ T weights[kDirectDepth][kDirectPanel];
  __shared__ DirectPixel places[kDirectPixels];
  const int thread = threadIdx.x;
  const int64_t depth = args.filter.depth(), group = blockIdx.y / group_panels,
                first = blockIdx.y % group_panels * kDirectPanel;
  const int width = panel_width(args.filter, first);
  const T* panel = args.packed + (group * args.filter.padded_group_out_c() + first) * depth;
  if (thread < kDirectPixels)
    places[thread] = DirectPixel::at(args, int64_t{blockIdx.x} * kDirectPixels + thread);
  __syncthreads();

  // Neighbouring threads load neighbours in memory: pixels in NCHW, channels in channels_last.
  const bool last = args.input_layout == MapLayout::kNhwc;
  const int channel0 = thread % 8 * 4, pixel0 = thread / 8 * 2;
  T sums[2][4] = {};
  for (int64_t from = 0; from < depth; from += kDirectDepth) {
    for (int i = thread; i < kDirectDepth * kDirectPixels; i += kDirectThreads) {
      const int d = last ? i % kDirectDepth : i / kDirectPixels;
      const int pixel = last ? i / kDirectDepth : i % kDirectPixels;
      pixels[d][pixel] = gathered(args, places[pixel], group, from + d);
    }
    for (int i = thread; i < kDirectDepth * kDirectPanel; i += kDirectThreads) {
      const int d = i / kDirectPanel, k = i % kDirectPanel;
      weights[d][k] = k < width && from + d < depth ? panel[(from + d) * width + k] : T(0);
    }
    __syncthreads();
#pragma unroll 4
    for (int d = 0; d < kDirectDepth; ++d) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += pixels[d][pixel0 + i] * weights[d][channel0 + j];
      }
    }
    __syncthreads();  // before the next slice
  }

  const int64_t w = args.out_w(), h = args.out_h();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int64_t index = int64_t{blockIdx.x} * kDirectPixels + pixel0 + i;
    if (places[pixel0 + i].image < 0) continue;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t k = first + channel0 + j, channel = group * args.filter.group_out_c() + k;
      if (k >= args.filter.group_out_c()) continue;
      const int64_t at = map_index(args.out_layout, index / w / h, channel, index / w % h, index % w,
                                   args.filter.out_c, h, w);
      args.out[at] = conv_output(args, sums[i][j], channel, at);
    }
  }
}

template <typename T>
cudaError_t launch_direct_conv2d_pack(const DirectPackArgs<T>& args, cudaStream_t stream) {
  const int64_t blocks = blocks_for(args.filter.packed_size(), kDirectThreads);
  if (blocks == 0) return cudaSuccess;
  return launch(direct_pack_kernel<T>, dim3(unsigned(blocks < INT32_MAX ? blocks : INT32_MAX)),
                dim3(kDirectThreads), 0, stream, args);
}

template <typename T>
cudaError_t launch_direct_conv2d(const DirectConv2dArgs<T>& args, cudaStream_t stream) {
  const int64_t blocks = blocks_for(args.batch * args.out_h() * args.out_w(), kDirectPixels);
  const int64_t group_panels = blocks_for(args.filter.group_out_c(), kDirectPanel);
  const int64_t panels = args.filter.groups * group_panels;
  if (blocks * panels == 0) return cudaSuccess;
  if (blocks > INT32_MAX || panels > 65535) return cudaErrorInvalidConfiguration;
  return launch(direct_kernel<T>, dim3(unsigned(blocks), unsigned(panels)), dim3(kDirectThreads), 0, stream,
                args, group_panels);
}

}  // namespace greenkernels::cuda
