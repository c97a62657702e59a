// What becomes of the sums of int8_gemm in kernels of which that is a small part.
#pragma once

#include "api/int8_gemm.h"
#include "cuda/activation.cuh"

namespace greenkernels::cuda {

// The activation of `value`, of column j.
__device__ inline float int8_activate(const Int8Epilogue& epilogue, int64_t j, float value) {
  const int64_t at = epilogue.activation_params > 1 ? j : 0;
  const float slope = epilogue.activation_params ? epilogue.activation_param[at] : 0.0f;
  return activate(epilogue.activation, value, slope);
}

// Whether four neighbours of a row of out may be made at once.
inline bool int8_makes_vectors(const Int8CudaGemmArgs& args) {
  return args.n % 4 == 0 && is_aligned(args.out, 16) && is_aligned(args.b_sums, 16) &&
         is_aligned(args.epilogue.col_scale, 16) && is_aligned(args.epilogue.bias, 16);
}

// Writes out[i, j] and the next ones, kCount of them, of which `sums` are the sums of products.
template <int kCount>
__device__ inline void int8_write_elements(const Int8CudaGemmArgs& args, int64_t i, int64_t j,
                                           int (&sums)[kCount]) {
  if (args.zero_points) {
    const int point = args.zero_point[args.zero_points > 1 ? i : 0];
    int b_sums[kCount];
    load_neighbours(b_sums, args.b_sums + j);
#pragma unroll
    for (int next = 0; next < kCount; ++next) sums[next] -= point * b_sums[next];
  }
  const int64_t at = i * args.n + j;
  if (args.output == Int8Output::kSums) return store_neighbours(static_cast<int*>(args.out) + at, sums);
  const float row_scale = args.row_scale[args.row_scales > 1 ? i : 0];
  float values[kCount], col_scale[kCount], bias[kCount] = {};
  load_neighbours(col_scale, args.epilogue.col_scale + j);
  if (args.epilogue.bias) load_neighbours(bias, args.epilogue.bias + j);
#pragma unroll
  for (int next = 0; next < kCount; ++next) {
    const float value = fmaf(row_scale * col_scale[next], float(sums[next]), bias[next]);
    values[next] = int8_activate(args.epilogue, j + next, value);
  }
  store_neighbours(static_cast<float*>(args.out) + at, values);
}

}  // namespace greenkernels::cuda
