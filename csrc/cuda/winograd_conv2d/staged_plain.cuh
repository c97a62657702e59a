// The transforms of staged.cuh in float64, for every tile: a thread has one element of V or of the output and
// makes it from the whole tile. Right, but not fast.
#pragma once

#include "api/winograd_conv2d.h"
#include "api/winograd_transforms.h"
#include "cuda/winograd_conv2d/chunk.cuh"

namespace greenkernels::cuda {

// B^T and A^T of F(m x m, 3 x 3), in what a kernel's arguments may hold.
struct WinogradMatrices {
  int m;
  double bt[8][8], at[6][8];

  template <int kTile>
  static WinogradMatrices of() {
    WinogradMatrices all{kTile, {}, {}};
    for (int i = 0; i < kTile + 2; ++i) {
      for (int j = 0; j < kTile + 2; ++j) {
        all.bt[i][j] = kWinograd<kTile>.bt[i][j];
        if (i < kTile) all.at[i][j] = kWinograd<kTile>.at[i][j];
      }
    }
    return all;
  }
};

__global__ void __launch_bounds__(kStagedThreads)
    winograd_input_plain_kernel(WinogradConv2dArgs<double> args, WinogradChunk<double> chunk,
                                WinogradMatrices matrices) {
  const int alpha = matrices.m + 2;
  const int64_t size = chunk.count * args.in_c, step = int64_t{gridDim.x} * kStagedThreads;
  for (int64_t i = int64_t{blockIdx.x} * kStagedThreads + threadIdx.x; i < size * alpha * alpha; i += step) {
    const int tap = int(i / size);
    const StagedPlace place = StagedPlace::of(args.input_layout, i % size, chunk.count, args.in_c);
    const StagedTile tile = StagedTile::at(args, matrices.m, chunk.first + place.tile);
    double sum = 0;
    for (int at = 0; at < alpha * alpha; ++at) {
      const int64_t y = tile.y + at / alpha - args.pad_h, x = tile.x + at % alpha - args.pad_w;
      if (y < 0 || y >= args.h || x < 0 || x >= args.w) continue;
      const double entry = matrices.bt[tap / alpha][at / alpha] * matrices.bt[tap % alpha][at % alpha];
      sum += entry * args.input[map_index(args.input_layout, tile.image, place.channel, y, x, args.in_c,
                                          args.h, args.w)];
    }
    chunk.v[i] = sum;
  }
}

__global__ void __launch_bounds__(kStagedThreads)
    winograd_output_plain_kernel(WinogradConv2dArgs<double> args, WinogradChunk<double> chunk,
                                 WinogradMatrices matrices) {
  const int m = matrices.m, alpha = m + 2;
  const int64_t size = chunk.count * args.out_c, step = int64_t{gridDim.x} * kStagedThreads;
  for (int64_t i = int64_t{blockIdx.x} * kStagedThreads + threadIdx.x; i < size * m * m; i += step) {
    const int pixel = int(i / size);
    const StagedPlace place = StagedPlace::of(args.out_layout, i % size, chunk.count, args.out_c);
    const StagedTile tile = StagedTile::at(args, m, chunk.first + place.tile);
    const int64_t y = tile.y + pixel / m, x = tile.x + pixel % m;
    if (y >= args.out_h() || x >= args.out_w()) continue;
    double sum = 0;
    for (int tap = 0; tap < alpha * alpha; ++tap) {
      const double entry = matrices.at[pixel / m][tap / alpha] * matrices.at[pixel % m][tap % alpha];
      sum += entry * chunk.products[tap * size + i % size];
    }
    const int64_t at =
        map_index(args.out_layout, tile.image, place.channel, y, x, args.out_c, args.out_h(), args.out_w());
    args.out[at] = conv_output(args, sum, place.channel, at);
  }
}

inline cudaError_t launch_transform(bool output, const WinogradConv2dArgs<double>& args,
                                    const WinogradChunk<double>& chunk, cudaStream_t stream) {
  const WinogradMatrices matrices = args.tile == 2   ? WinogradMatrices::of<2>()
                                    : args.tile == 4 ? WinogradMatrices::of<4>()
                                                     : WinogradMatrices::of<6>();
  const int64_t each =
      output ? args.out_c * args.tile * args.tile : args.in_c * (args.tile + 2) * (args.tile + 2);
  const auto kernel = output ? winograd_output_plain_kernel : winograd_input_plain_kernel;
  return launch(kernel, staged_grid(chunk.count * each), dim3(kStagedThreads), 0, stream, args, chunk,
                matrices);
}

}  // namespace greenkernels::cuda
