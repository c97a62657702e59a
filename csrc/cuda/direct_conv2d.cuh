// direct_conv2d on CUDA: packing, the launches, and the kernel for float64 and for sizes that no tile takes
// (direct_choice.cuh): a matrix product of gathered input pixels and the packed weight, whose panels have the
// order of its sums. A block owns 64 output pixels and a panel, a thread 2 pixels and 4 channels.
#pragma once

#include "api/direct_conv2d.h"
#include "cuda/direct_choice.cuh"
#include "cuda/direct_tile.cuh"

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
cudaError_t launch_direct_plain(const DirectConv2dArgs<T>& args, cudaStream_t stream) {
  const int64_t blocks = blocks_for(args.batch * args.out_h() * args.out_w(), kDirectPixels);
  const int64_t group_panels = blocks_for(args.filter.group_out_c(), kDirectPanel);
  const int64_t panels = args.filter.groups * group_panels;
  if (blocks * panels == 0) return cudaSuccess;
  if (blocks > INT32_MAX || panels > 65535) return cudaErrorInvalidConfiguration;
  return launch(direct_kernel<T>, dim3(unsigned(blocks), unsigned(panels)), dim3(kDirectThreads), 0, stream,
                args, group_panels);
}

template <class Tile, class Input>
cudaError_t launch_direct_tiles(const DirectConv2dArgs<float>& args, const DirectChoice& choice,
                                float* scratch, cudaStream_t stream) {
  const int64_t plane = args.out_h() * args.out_w(), pixels = args.batch * plane;
  const int64_t run = args.out_layout == MapLayout::kNhwc ? args.filter.out_c : plane;
  const int64_t group_run = args.out_layout == MapLayout::kNhwc ? args.filter.group_out_c() : plane;
  const bool vector_out =
      run % 4 == 0 && group_run % 4 == 0 && is_aligned(choice.parts > 1 ? scratch : args.out, 16);
  const int64_t channel_tiles = blocks_for(args.filter.group_out_c(), Tile::kChannels);
  const DirectPlan plan{int(channel_tiles), int(choice.slices), int(choice.slices_each), int(choice.parts),
                        vector_out};
  const dim3 grid(unsigned(blocks_for(pixels, Tile::kPixels)), unsigned(args.filter.groups * channel_tiles),
                  unsigned(choice.parts));
  const cudaError_t status =
      launch(direct_tile_kernel<Tile, Input>, grid, dim3(Tile::kThreads), 0, stream, args, plan, scratch);
  if (status != cudaSuccess || choice.parts == 1) return status;
  const int64_t blocks = blocks_for(pixels * args.filter.out_c, kDirectThreads);
  const int64_t most = 1 << 16;  // more threads than any device holds
  return launch(direct_parts_kernel, dim3(unsigned(blocks < most ? blocks : most)), dim3(kDirectThreads), 0,
                stream, args, int(choice.parts), static_cast<const float*>(scratch));
}

template <class Tile>
cudaError_t launch_direct_input(const DirectConv2dArgs<float>& args, const DirectChoice& choice,
                                float* scratch, cudaStream_t stream) {
  constexpr int kPixels = Tile::kPixels, kThreads = Tile::kThreads;
  switch (choice.input) {
    case DirectInput::kPixels:
      return launch_direct_tiles<Tile, DirectPixelInput<kPixels, kThreads>>(args, choice, scratch, stream);
    case DirectInput::kPlanes:
      return launch_direct_tiles<Tile, DirectPlaneInput<kPixels, kThreads>>(args, choice, scratch, stream);
    case DirectInput::kTable:
      return args.input_layout == MapLayout::kNhwc
                 ? launch_direct_tiles<Tile, DirectTableInput<kPixels, kThreads, true>>(args, choice, scratch,
                                                                                        stream)
                 : launch_direct_tiles<Tile, DirectTableInput<kPixels, kThreads, false>>(args, choice,
                                                                                         scratch, stream);
    case DirectInput::kNone:
      break;
  }
  return launch_direct_plain(args, stream);
}

inline cudaError_t launch_direct_conv2d(const DirectConv2dArgs<double>& args, double*, cudaStream_t stream) {
  return launch_direct_plain(args, stream);
}

inline cudaError_t launch_direct_conv2d(const DirectConv2dArgs<float>& args, float* scratch,
                                        cudaStream_t stream) {
  DirectChoice choice;
  const cudaError_t status = choose_direct(args, choice);
  if (status != cudaSuccess) return status;
  if (choice.input == DirectInput::kNone) return launch_direct_plain(args, stream);
  if (choice.parts > 1 && scratch == nullptr) return cudaErrorInvalidValue;
  switch (choice.tile) {
    case 0:
      return launch_direct_input<DirectTile<64, 128, 8, 8, 3>>(args, choice, scratch, stream);
    case 1:
      return launch_direct_input<DirectTile<128, 64, 8, 8, 3>>(args, choice, scratch, stream);
    case 2:
      return launch_direct_input<DirectTile<64, 64, 8, 4, 5>>(args, choice, scratch, stream);
    default:
      return launch_direct_input<DirectTile<64, 32, 4, 4, 5>>(args, choice, scratch, stream);
  }
}

}  // namespace greenkernels::cuda
