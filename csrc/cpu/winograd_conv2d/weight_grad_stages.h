// The stages of the weight gradient for one instruction set and tile size, as weight_grad.cpp calls them.
#pragma once

#include <cstdint>

#include "cpu/winograd_conv2d/weight_grad_plan.h"

namespace greenkernels::cpu {

// What one call of the second stage multiplies.
struct WinogradGradSlice {
  int64_t panel;        // of output channels
  int64_t begin, end;   // blocks of 16 input channels
  int64_t tiles;        // depth
  int64_t chunk_tiles;  // tiles of the chunk that v and z hold
};

// v, z, sums and stage are scratch, laid out as WinogradGradJob says.
template <typename T, typename S = T>
struct WinogradGradStages {
  void (*input)(const WinogradJob<T, S>& map, int64_t block, int64_t channel_begin, int64_t channel_end, T* v,
                T* stage);
  void (*grad)(const WinogradGradJob<T, S>& job, int64_t block, int64_t panel, T* z, T* stage);
  void (*multiply)(const WinogradGradJob<T, S>& job, const WinogradGradSlice& slice, const T* v, const T* z,
                   T* sums);
  void (*filters)(const WinogradGradJob<T, S>& job, int64_t panel, int64_t block, const T* sums,
                  int64_t shares, int64_t share_stride);
};

// Of the level in use, for maps of 16-bit numbers.
template <typename S>
WinogradGradStages<float, S> winograd_grad_half_stages(int tile);

}  // namespace greenkernels::cpu
