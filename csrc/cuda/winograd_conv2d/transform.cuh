// The transforms of api/winograd_transforms.h on the registers of a thread: Y = L X L^T for L = B^T, G, A^T.
#pragma once

#include "api/winograd_transforms.h"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

enum class WinogradMatrix { kInput, kFilter, kOutput };  // B^T, G, A^T

template <WinogradMatrix kWhich, int m>
__device__ constexpr double winograd_entry(int row, int column) {
  constexpr WinogradTransforms<m> kTransforms;
  if constexpr (kWhich == WinogradMatrix::kInput) return kTransforms.bt[row][column];
  if constexpr (kWhich == WinogradMatrix::kFilter) return kTransforms.g[row][column];
  return kTransforms.at[row][column];
}

// to [kRows] = L [kRows, kSize] from [kSize]; entries of 0 cost nothing, those of 1 and -1 an addition.
template <WinogradMatrix kWhich, int m, int kRows, int kSize, typename T>
__device__ inline void winograd_multiply(T (&to)[kRows], const T (&from)[kSize]) {
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    T sum = 0;
    bool empty = true;
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      const T entry = T(winograd_entry<kWhich, m>(row, i));
      if (entry == T(0)) continue;
      const T term = entry * from[i];
      sum = empty ? term : sum + term;
      empty = false;
    }
    to[row] = sum;
  }
}

template <WinogradMatrix kWhich, int m, int kRows, int kSize, typename T>
__device__ inline void winograd_transform(T (&to)[kRows][kRows], const T (&from)[kSize][kSize]) {
  T part[kRows][kSize];  // L X
#pragma unroll
  for (int j = 0; j < kSize; ++j) {
    T column[kSize], product[kRows];
#pragma unroll
    for (int i = 0; i < kSize; ++i) column[i] = from[i][j];
    winograd_multiply<kWhich, m>(product, column);
#pragma unroll
    for (int i = 0; i < kRows; ++i) part[i][j] = product[i];
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) winograd_multiply<kWhich, m>(to[i], part[i]);
}

}  // namespace greenkernels::cuda
