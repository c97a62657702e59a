// The part of sgemm that cuts the depth where there are too few tiles: parts of it are multiplied as the
// items of a batch, into scratch memory, and added up in order.
#pragma once

#include "cuda/activation.cuh"
#include "cuda/sgemm_choice.cuh"

namespace greenkernels::cuda {

// The product of parts, as one of a batch into scratch memory. The kernel gets its depth from plan.depth.
inline SgemmArgs<float> sgemm_parts(const SgemmArgs<float>& args, const SgemmPlan& plan, float* scratch) {
  SgemmArgs<float> parts{};
  parts.a = args.a, parts.a_row = args.a_row, parts.a_depth = args.a_depth;
  parts.b = args.b, parts.b_row = args.b_row, parts.b_depth = args.b_depth;
  parts.a_batch = plan.depth * args.a_depth, parts.b_batch = plan.depth * args.b_depth;
  parts.out = scratch, parts.out_batch = args.m * args.n, parts.out_row = args.n;
  parts.batch = plan.parts, parts.m = args.m, parts.n = args.n, parts.k = args.k;
  parts.activation = Activation::kNone;
  return parts;
}

// out = act(bias + beta * out + sum of partial [parts][m][n]), kVector neighbours a thread: 4 where 16-byte
// accesses fit in.
template <int kVector>
__global__ void __launch_bounds__(kSumThreads)
    sgemm_sum_kernel(SgemmArgs<float> args, const float* partial, int parts) {
  const auto [row, col] = SumPlace<kVector>::of_thread(args.n);
  if (row >= args.m) return;
  float sums[kVector] = {};
  add_parts(sums, partial + row * args.n + col, parts, args.m * args.n);
  float* out = args.out + row * args.out_row + col;
  float more[kVector];
  if (args.bias) {
    load_neighbours(more, args.bias + col);
#pragma unroll
    for (int j = 0; j < kVector; ++j) sums[j] += more[j];
  }
  if (args.beta != 0.0f) {
    load_neighbours(more, out);
#pragma unroll
    for (int j = 0; j < kVector; ++j) sums[j] += args.beta * more[j];
  }
#pragma unroll
  for (int j = 0; j < kVector; ++j) {
    const int64_t at = args.activation_params > 1 ? col + j : 0;
    const float slope = args.activation_params ? args.activation_param[at] : 0.0f;
    sums[j] = activate(args.activation, sums[j], slope);
  }
  store_neighbours(out, sums);
}

inline cudaError_t launch_sgemm_sum(const SgemmArgs<float>& args, const SgemmPlan& plan, const float* partial,
                                    cudaStream_t stream) {
  const bool vector =
      is_aligned(args.out, 16) && is_aligned(args.bias, 16) && args.n % 4 == 0 && args.out_row % 4 == 0;
  return launch(vector ? sgemm_sum_kernel<4> : sgemm_sum_kernel<1>, sum_grid(args.m, args.n, vector ? 4 : 1),
                dim3(kSumThreads), 0, stream, args, partial, int(plan.parts));
}

}  // namespace greenkernels::cuda
