// U = G g G^T on CUDA, in the one packed layout of api/winograd_conv2d.h, and the way back to plain matrices.
#pragma once

#include "api/winograd_conv2d.h"
#include "cuda/winograd_conv2d/transform.cuh"

namespace greenkernels::cuda {

inline constexpr int kPackDepth = 8;  // input channels of a block
inline constexpr int kPackThreads = kWinogradPanel * kPackDepth;
inline constexpr int kUnpanelRows = 8 * kPackDepth;  // input channels that a block puts into plain order

// Element (tap 0, c, output channel) of the packed weight, and how far its taps lie apart.
struct PackedPlace {
  int64_t index, tap_stride;

  __device__ static PackedPlace of(int64_t out_c, int64_t in_c, int taps, int64_t c, int64_t channel) {
    const int64_t first = channel / kWinogradPanel * kWinogradPanel;
    const bool half = out_c - first <= kWinogradHalfPanel;
    const int64_t width = half ? kWinogradHalfPanel : kWinogradPanel;
    return {first * taps * in_c + c * width + channel - first, in_c * width};
  }
};

// Block (x, y) owns input channels kPackDepth x .. and panels y, y + gridDim.y, ..: filters are read along
// the memory of each output channel, and U is written along the panel. As on the CPU in float64, since the
// entries of G are no binary fractions.
template <typename T, int m>
__global__ void __launch_bounds__(kPackThreads) winograd_pack_kernel(WinogradPackArgs<T> args) {
  constexpr int kAlpha = m + 2;
  constexpr int kRow = 9 * kPackDepth;
  __shared__ T filters[kWinogradPanel][kRow + 1];  // the spare element keeps the rows' banks apart
  const int64_t first_c = int64_t{blockIdx.x} * kPackDepth;
  const int64_t panels = (winograd_padded_out_c(args.out_c) + kWinogradPanel - 1) / kWinogradPanel;
  for (int64_t panel = blockIdx.y; panel < panels; panel += gridDim.y) {
    const int64_t first = panel * kWinogradPanel;
    for (int i = threadIdx.x; i < kWinogradPanel * kRow; i += kPackThreads) {
      // Of a rotated weight the roles of the channels are exchanged in memory.
      const int row = i / kRow, c = i % kRow / 9, tap = i % 9;
      const int64_t k = first + row, from_c = first_c + c;
      const bool inside = k < args.out_c && from_c < args.in_c;
      const int64_t at =
          args.rotated ? (from_c * args.out_c + k) * 9 + 8 - tap : (k * args.in_c + from_c) * 9 + tap;
      filters[row][9 * c + tap] = inside ? args.weight[at] : T(0);
    }
    __syncthreads();
    const int lane = threadIdx.x % kWinogradPanel, depth = threadIdx.x / kWinogradPanel;
    if (first_c + depth < args.in_c && first + lane < winograd_padded_out_c(args.out_c)) {
      double filter[3][3], u[kAlpha][kAlpha];
#pragma unroll
      for (int i = 0; i < 9; ++i) filter[i / 3][i % 3] = filters[lane][9 * depth + i];
      winograd_transform<WinogradMatrix::kFilter, m>(u, filter);
      const PackedPlace place =
          PackedPlace::of(args.out_c, args.in_c, kAlpha * kAlpha, first_c + depth, first + lane);
#pragma unroll
      for (int tap = 0; tap < kAlpha * kAlpha; ++tap) {
        args.packed[place.index + tap * place.tap_stride] = T(u[tap / kAlpha][tap % kAlpha]);
      }
    }
    __syncthreads();  // before the next panel overwrites the filters
  }
}

// packed -> [tap][in_c][out_c], which a matrix product can read. Block (x, y, z) owns kUnpanelRows input
// channels x of panel y and tap z; a thread a column of the panel, several rows of it at once.
template <typename T>
__global__ void __launch_bounds__(kPackThreads)
    winograd_unpanel_kernel(const T* packed, T* to, int64_t out_c, int64_t in_c, int taps) {
  const int column = threadIdx.x % kWinogradPanel;
  const int64_t channel = int64_t{blockIdx.y} * kWinogradPanel + column;
  if (channel >= out_c) return;
  const int64_t first_c = int64_t{blockIdx.x} * kUnpanelRows + threadIdx.x / kWinogradPanel;
  const PackedPlace place = PackedPlace::of(out_c, in_c, taps, 0, channel);
  const int64_t width = place.tap_stride / in_c;
  const T* from = packed + place.index + blockIdx.z * place.tap_stride;
  T* into = to + blockIdx.z * in_c * out_c + channel;
#pragma unroll
  for (int row = 0; row < kUnpanelRows; row += kPackDepth) {
    const int64_t c = first_c + row;
    if (c < in_c) into[c * out_c] = from[c * width];
  }
}

template <typename T>
cudaError_t launch_unpanel(const T* packed, T* to, int64_t out_c, int64_t in_c, int taps,
                           cudaStream_t stream) {
  const int64_t deep = blocks_for(in_c, kUnpanelRows), panels = blocks_for(out_c, kWinogradPanel);
  if (deep * panels == 0) return cudaSuccess;
  if (deep > INT32_MAX || panels > kMostItems) return cudaErrorInvalidConfiguration;
  return launch(winograd_unpanel_kernel<T>, dim3(unsigned(deep), unsigned(panels), unsigned(taps)),
                dim3(kPackThreads), 0, stream, packed, to, out_c, in_c, taps);
}

template <typename T>
cudaError_t launch_pack(const WinogradPackArgs<T>& args, cudaStream_t stream) {
  const int64_t deep = blocks_for(args.in_c, kPackDepth), panels = blocks_for(args.out_c, kWinogradPanel);
  if (deep * panels == 0) return cudaSuccess;
  if (deep > INT32_MAX) return cudaErrorInvalidConfiguration;
  const dim3 grid(unsigned(deep), unsigned(panels < kMostItems ? panels : kMostItems));
  const auto kernel = args.tile == 2   ? winograd_pack_kernel<T, 2>
                      : args.tile == 4 ? winograd_pack_kernel<T, 4>
                                       : winograd_pack_kernel<T, 6>;
  return launch(kernel, grid, dim3(kPackThreads), 0, stream, args);
}

}  // namespace greenkernels::cuda
