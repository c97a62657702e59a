// The three stages of a Winograd convolution for one instruction set and tile size, as forward.cpp calls
// them.
#pragma once

#include <cstdint>

#include "cpu/prefetch.h"
#include "cpu/winograd_conv2d/plan.h"

namespace greenkernels::cpu {

// v, products and stage are scratch, laid out as WinogradJob says.
template <typename T, typename S = T>
struct WinogradStages {
  int64_t max_rows;  // rows of the micro-kernel
  void (*input)(const WinogradJob<T, S>& job, int64_t block, int64_t channel_begin, int64_t channel_end, T* v,
                T* stage);
  void (*multiply)(const WinogradJob<T, S>& job, const WinogradPart& part, const T* v, T* products,
                   PrefetchList& ahead);
  void (*output)(const WinogradJob<T, S>& job, int64_t panel, int64_t block, const T* products, T* stage);
};

// Of the level in use, for maps of 16-bit numbers.
template <typename S>
WinogradStages<float, S> winograd_half_stages(int tile);

}  // namespace greenkernels::cpu
