// sgemm on CUDA in float32 (no tensor cores): tiles of out of 128 x 128 or 64 x 64, 16 x 8 or 8 x 4 elements
// a thread, slices of eight products in four buffers. While a slice is multiplied, the first depth of the
// next is read, two more are on their way, and a fourth is asked for.
#pragma once

#include "api/sgemm.h"
#include "cuda/sgemm_few_rows.cuh"
#include "cuda/sgemm_slices.cuh"
#include "cuda/sgemm_split.cuh"
#include "cuda/sgemm_sums.cuh"
#include "cuda/sgemm_tile.cuh"

namespace greenkernels::cuda {

// With a part_depth below k, items are parts of the depth of one product.
template <int kLaneRows, bool kADepthFirst, bool kBDepthFirst, int kVector>
__global__ void __launch_bounds__(kSgemmThreads, 32 / kLaneRows)
    sgemm_kernel(SgemmArgs<float> args, int tiles_down, int part_depth, bool vector_out) {
  constexpr int kSide = kSgemmTile<kLaneRows>;
  using A = SgemmShare<kSide, kADepthFirst, kVector>;
  using B = SgemmShare<kSide, kBDepthFirst, kVector>;
  __shared__ __align__(16) float shared[kSgemmStages * 2 * kSgemmSliceWords<kSide>];
  const SgemmPlace place = SgemmPlace::of_block(tiles_down, kSide);
  const int k = min(part_depth, int(args.k - (part_depth < args.k ? place.item * part_depth : 0)));
  const A a({args.a + place.item * args.a_batch, args.a_row, args.a_depth, args.m}, place.row0);
  const B b({args.b + place.item * args.b_batch, args.b_row, args.b_depth, args.n}, place.col0);
  SgemmSlices<kSide, A, B> slices(a, b, k, shared);
  SgemmSums<kLaneRows> sums;
  multiply_slices(sums, slices, k);

  const SgemmPlace here = SgemmPlace::of_block(tiles_down, kSide);  // again: it need not hold registers
  float* out = args.out + here.item * args.out_batch;
  sums.write(args, out, here.row0, here.col0, vector_out);
  if (args.activation != Activation::kNone && args.activation != Activation::kRelu) {
    SgemmSums<kLaneRows>::activate_all(args, out, here.row0, here.col0);
  }
}

// Whether a thread may load 16 bytes along the stride of 1 of an operand with `rows` rows.
inline bool sgemm_loads_vectors(const SgemmOperand& operand, int64_t k, int64_t batch_stride) {
  const bool depth_first = operand.depth_stride == 1;
  const int64_t across = depth_first ? operand.row_stride : operand.depth_stride;
  const int64_t extent = depth_first ? k : operand.rows;
  return is_aligned(operand.data, 16) && across % 4 == 0 && extent % 4 == 0 && batch_stride % 4 == 0;
}

inline bool sgemm_loads_vectors(const SgemmArgs<float>& args) {
  const SgemmOperand a{args.a, args.a_row, args.a_depth, args.m}, b{args.b, args.b_row, args.b_depth, args.n};
  return sgemm_loads_vectors(a, args.k, args.a_batch) && sgemm_loads_vectors(b, args.k, args.b_batch);
}

template <int kLaneRows, int kVector>
auto sgemm_kernel_for(bool a_depth_first, bool b_depth_first) {
  if (a_depth_first) {
    return b_depth_first ? sgemm_kernel<kLaneRows, true, true, kVector>
                         : sgemm_kernel<kLaneRows, true, false, kVector>;
  }
  return b_depth_first ? sgemm_kernel<kLaneRows, false, true, kVector>
                       : sgemm_kernel<kLaneRows, false, false, kVector>;
}

template <int kLaneRows>
cudaError_t launch_sgemm_tiles(const SgemmArgs<float>& args, int64_t part_depth, bool vector,
                               cudaStream_t stream) {
  const int64_t tiles_down = blocks_for(args.m, kSgemmTile<kLaneRows>);
  const int64_t tiles = tiles_down * blocks_for(args.n, kSgemmTile<kLaneRows>);
  if (tiles > INT32_MAX) return cudaErrorInvalidConfiguration;
  const bool vector_out =
      is_aligned(args.out, 16) && args.n % 4 == 0 && args.out_row % 4 == 0 && args.out_batch % 4 == 0;
  const auto kernel = vector ? sgemm_kernel_for<kLaneRows, 4>(args.a_depth == 1, args.b_depth == 1)
                             : sgemm_kernel_for<kLaneRows, 1>(args.a_depth == 1, args.b_depth == 1);
  if (tiles == 0) return cudaSuccess;
  return launch_batch(args, [&](const SgemmArgs<float>& some, unsigned items) {
    return launch(kernel, dim3(unsigned(tiles), 1, items), dim3(kSgemmThreads), 0, stream, some,
                  int(tiles_down), int(part_depth), vector_out);
  });
}

// Elements of scratch memory that launch_sgemm wants.
inline int64_t sgemm_scratch_of(const SgemmArgs<float>& args) {
  SgemmPlan plan;
  if (sgemm_has_few_rows(args, sgemm_loads_vectors(args))) return 0;
  if (sgemm_plan_here(args, true, &plan) != cudaSuccess || plan.parts == 1) return 0;
  return plan.parts * args.m * args.n;
}

// scratch: [sgemm_scratch_of(args)], or nullptr, and then the depth is in one part.
inline cudaError_t launch_sgemm(const SgemmArgs<float>& args, float* scratch, cudaStream_t stream) {
  if (args.packed != nullptr || args.k > INT32_MAX) return cudaErrorInvalidValue;
  const bool vector = sgemm_loads_vectors(args);
  if (sgemm_has_few_rows(args, vector)) return launch_sgemm_few_rows(args, stream);
  SgemmPlan plan;
  cudaError_t status = sgemm_plan_here(args, scratch != nullptr, &plan);
  if (status != cudaSuccess) return status;
  const SgemmArgs<float> products = plan.parts > 1 ? sgemm_parts(args, plan, scratch) : args;
  status = plan.large ? launch_sgemm_tiles<16>(products, plan.depth, vector, stream)
                      : launch_sgemm_tiles<8>(products, plan.depth, vector, stream);
  if (status != cudaSuccess || plan.parts == 1) return status;
  return launch_sgemm_sum(args, plan, scratch, stream);
}

}  // namespace greenkernels::cuda
