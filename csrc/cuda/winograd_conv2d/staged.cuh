// winograd_conv2d on CUDA in stages, for larger tiles and for float64: V = B^T d B of some tiles, their
// products M = U V, one a tap, by sgemm, Y = A^T M A; then the next tiles. The transforms here are those of
// float32; staged_plain.cuh has them for float64.
#pragma once

#include "api/sgemm.h"
#include "cuda/winograd_conv2d/pack.cuh"
#include "cuda/winograd_conv2d/staged_plain.cuh"

namespace greenkernels::cuda {

// Of V and M, at most. Not what fits into L2: on an H100 (50 MB) three launches for each 25 MB of them leave
// so much of the GPU idle that 256 MB, which mostly is one chunk, take as long or up to 0.6 of the time.
inline constexpr int64_t kChunkBytes = 256 << 20;

template <int m>
__global__ void __launch_bounds__(kStagedThreads)
    winograd_input_kernel(WinogradConv2dArgs<float> args, WinogradChunk<float> chunk) {
  constexpr int kAlpha = m + 2;
  const int64_t size = chunk.count * args.in_c, step = int64_t{gridDim.x} * kStagedThreads;
  for (int64_t i = int64_t{blockIdx.x} * kStagedThreads + threadIdx.x; i < size; i += step) {
    const StagedPlace place = StagedPlace::of(args.input_layout, i, chunk.count, args.in_c);
    const StagedTile tile = StagedTile::at(args, m, chunk.first + place.tile);
    float patch[kAlpha][kAlpha], v[kAlpha][kAlpha];
#pragma unroll
    for (int tap = 0; tap < kAlpha * kAlpha; ++tap) {
      const int64_t y = tile.y + tap / kAlpha - args.pad_h, x = tile.x + tap % kAlpha - args.pad_w;
      const bool inside = y >= 0 && y < args.h && x >= 0 && x < args.w;
      const int64_t at =
          map_index(args.input_layout, tile.image, place.channel, y, x, args.in_c, args.h, args.w);
      patch[tap / kAlpha][tap % kAlpha] = inside ? args.input[at] : 0.0f;
    }
    winograd_transform<WinogradMatrix::kInput, m>(v, patch);
#pragma unroll
    for (int tap = 0; tap < kAlpha * kAlpha; ++tap) chunk.v[tap * size + i] = v[tap / kAlpha][tap % kAlpha];
  }
}

template <int m>
__global__ void __launch_bounds__(kStagedThreads)
    winograd_output_kernel(WinogradConv2dArgs<float> args, WinogradChunk<float> chunk) {
  constexpr int kAlpha = m + 2;
  const int64_t size = chunk.count * args.out_c, step = int64_t{gridDim.x} * kStagedThreads;
  const int64_t h = args.out_h(), w = args.out_w();
  for (int64_t i = int64_t{blockIdx.x} * kStagedThreads + threadIdx.x; i < size; i += step) {
    const StagedPlace place = StagedPlace::of(args.out_layout, i, chunk.count, args.out_c);
    const StagedTile tile = StagedTile::at(args, m, chunk.first + place.tile);
    float products[kAlpha][kAlpha], sums[m][m];
#pragma unroll
    for (int tap = 0; tap < kAlpha * kAlpha; ++tap) {
      products[tap / kAlpha][tap % kAlpha] = chunk.products[tap * size + i];
    }
    winograd_transform<WinogradMatrix::kOutput, m>(sums, products);
#pragma unroll
    for (int pixel = 0; pixel < m * m; ++pixel) {
      const int64_t y = tile.y + pixel / m, x = tile.x + pixel % m;
      if (y >= h || x >= w) continue;
      const int64_t at = map_index(args.out_layout, tile.image, place.channel, y, x, args.out_c, h, w);
      args.out[at] = with_bias_and_skip(args, sums[pixel / m][pixel % m], place.channel, at);
    }
    // Not in registers: m^2 copies of a switch over all activations would be most of the kernel.
    if (args.activation == Activation::kNone) continue;
#pragma unroll 1
    for (int pixel = 0; pixel < m * m; ++pixel) {
      const int64_t y = tile.y + pixel / m, x = tile.x + pixel % m;
      if (y >= h || x >= w) continue;
      float& out = args.out[map_index(args.out_layout, tile.image, place.channel, y, x, args.out_c, h, w)];
      out = activate(args.activation, out, slope_of(args, place.channel));
    }
  }
}

template <typename T>
int64_t tiles_of(const WinogradConv2dArgs<T>& args) {
  return args.batch * blocks_for(args.out_h(), args.tile) * blocks_for(args.out_w(), args.tile);
}

// Tiles of a chunk: all that fit, in whole tiles of sgemm.
template <typename T>
int64_t chunk_tiles(const WinogradConv2dArgs<T>& args) {
  const int64_t taps = int64_t{args.tile + 2} * (args.tile + 2);
  const int64_t fit = kChunkBytes / int64_t(sizeof(T)) / taps / (args.in_c + args.out_c + 1) / 128 * 128;
  const int64_t chunk = fit < 128 ? 128 : fit, tiles = tiles_of(args);
  return chunk < tiles ? chunk : tiles;
}

// U [tap][in_c][out_c], V and M of a chunk, one after the other.
template <typename T>
int64_t staged_scratch(const WinogradConv2dArgs<T>& args) {
  const int64_t taps = int64_t{args.tile + 2} * (args.tile + 2);
  return taps * (args.in_c * args.out_c + (args.in_c + args.out_c) * chunk_tiles(args));
}

// The products of a chunk. A sum over no input channel is 0 too.
template <typename T>
SgemmArgs<T> staged_products(const WinogradConv2dArgs<T>& args, const T* u, const WinogradChunk<T>& chunk) {
  SgemmArgs<T> product{};
  product.batch = int64_t{args.tile + 2} * (args.tile + 2);
  product.k = args.in_c;
  product.out = chunk.products;
  product.out_batch = args.out_c * chunk.count;
  const int64_t u_batch = args.in_c * args.out_c, v_batch = args.in_c * chunk.count;
  if (args.input_layout == MapLayout::kNchw) {
    product.m = args.out_c, product.n = product.out_row = chunk.count;
    product.a = u, product.a_batch = u_batch, product.a_row = 1, product.a_depth = args.out_c;
    product.b = chunk.v, product.b_batch = v_batch, product.b_row = 1, product.b_depth = chunk.count;
  } else {
    product.m = chunk.count, product.n = product.out_row = args.out_c;
    product.a = chunk.v, product.a_batch = v_batch, product.a_row = args.in_c, product.a_depth = 1;
    product.b = u, product.b_batch = u_batch, product.b_row = 1, product.b_depth = args.out_c;
  }
  return product;
}

template <int m>
cudaError_t launch_transform(bool output, const WinogradConv2dArgs<float>& args,
                             const WinogradChunk<float>& chunk, cudaStream_t stream) {
  const dim3 grid = staged_grid(chunk.count * (output ? args.out_c : args.in_c));
  const auto kernel = output ? winograd_output_kernel<m> : winograd_input_kernel<m>;
  return launch(kernel, grid, dim3(kStagedThreads), 0, stream, args, chunk);
}

inline cudaError_t launch_transform(bool output, const WinogradConv2dArgs<float>& args,
                                    const WinogradChunk<float>& chunk, cudaStream_t stream) {
  return args.tile == 4 ? launch_transform<4>(output, args, chunk, stream)
                        : launch_transform<6>(output, args, chunk, stream);
}

template <typename T>
cudaError_t launch_staged(const WinogradConv2dArgs<T>& args, T* scratch, cudaStream_t stream) {
  const int taps = (args.tile + 2) * (args.tile + 2);
  const int64_t u_size = taps * args.in_c * args.out_c, most = chunk_tiles(args), tiles = tiles_of(args);
  if (u_size > 0) {
    const cudaError_t status = launch_unpanel(args.packed, scratch, args.out_c, args.in_c, taps, stream);
    if (status != cudaSuccess) return status;
  }
  for (int64_t first = 0; first < tiles; first += most) {
    const int64_t count = tiles - first < most ? tiles - first : most;
    T* v = scratch + u_size;
    const WinogradChunk<T> chunk{v, v + taps * args.in_c * count, first, count};
    cudaError_t status = cudaSuccess;
    if (args.in_c > 0) status = launch_transform(false, args, chunk, stream);
    if (status == cudaSuccess)
      status = cudaError_t(sgemm(staged_products(args, scratch, chunk), static_cast<T*>(nullptr), stream));
    if (status == cudaSuccess) status = launch_transform(true, args, chunk, stream);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

}  // namespace greenkernels::cuda
