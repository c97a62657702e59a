// The products of strassen_gemm, all of them in one launch: tiles of sgemm on packed operands.
#pragma once

#include "cuda/sgemm_choice.cuh"
#include "cuda/sgemm_slices.cuh"
#include "cuda/strassen_gemm/panels.cuh"

namespace greenkernels::cuda {

// Items of the batch are products: a and b packed, out [m, n] with n a multiple of 4, rows 16-byte aligned.
template <int kLaneRows>
__global__ void __launch_bounds__(kSgemmThreads, 32 / kLaneRows)
    strassen_product_kernel(SgemmArgs<float> args, int tiles_down) {
  constexpr int kSide = kSgemmTile<kLaneRows>;
  using Panels = StrassenPanels<kSide>;
  __shared__ __align__(16) float shared[kSgemmStages * 2 * kSgemmSliceWords<kSide>];
  const SgemmPlace place = SgemmPlace::of_block(tiles_down, kSide);
  const int k = int(args.k);
  const Panels a(args.a + place.item * args.a_batch, args.m, k, place.row0);
  const Panels b(args.b + place.item * args.b_batch, args.n, k, place.col0);
  SgemmSlices<kSide, Panels, Panels> slices(a, b, k, shared);
  SgemmSums<kLaneRows> sums;
  multiply_slices(sums, slices, k);

  const SgemmPlace here = SgemmPlace::of_block(tiles_down, kSide);  // again: it need not hold registers
  sums.write(args, args.out + here.item * args.out_batch, here.row0, here.col0, true);
}

template <int kLaneRows>
cudaError_t launch_strassen_tiles(const SgemmArgs<float>& products, cudaStream_t stream) {
  const int64_t tiles_down = blocks_for(products.m, kSgemmTile<kLaneRows>);
  const int64_t tiles = tiles_down * blocks_for(products.n, kSgemmTile<kLaneRows>);
  if (tiles > INT32_MAX) return cudaErrorInvalidConfiguration;
  const dim3 grid(unsigned(tiles), 1, unsigned(products.batch));
  return launch(strassen_product_kernel<kLaneRows>, grid, dim3(kSgemmThreads), 0, stream, products,
                int(tiles_down));
}

// Tiles by the rule of sgemm.
inline cudaError_t launch_strassen_products(const SgemmArgs<float>& products, int multiprocessors,
                                            cudaStream_t stream) {
  return sgemm_plan(products, multiprocessors, false).large ? launch_strassen_tiles<16>(products, stream)
                                                            : launch_strassen_tiles<8>(products, stream);
}

}  // namespace greenkernels::cuda
