// Kernels with one bug each, which the detectors of greenkernels.ptxsim must find: product<kBug> on a block
// of 8 x 8 threads, out [8, 8] = a [8, k] b [8, k]^T, tiles of eight k copied ahead by cp.async into two
// buffers. seeded_bugs.ptx is what nvcc 13.0 makes of this file, without the debug strings at its end:
//   nvcc -std=c++17 -arch=compute_80 -lineinfo -ptx seeded_bugs.cu
#include <cuda_runtime.h>

enum Bug {
  kNoBug,
  kNoBarrierAfterLoad,
  kNoBarrierBeforeOverwrite,
  kWaitsForTooFewCopies,
  kReadsPastB,
  kReadsPastTile,
  kMisaligned,
  kDivergentBarrier,
  kBarrierForMoreThreads,
  kShuffleWithoutHalfTheWarp,
  kBlocksWriteTheSame,
  kOneTileIsNeverLoaded,
  kNeverEnds,
};

__device__ void copy_word(float* shared, const float* global) {
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(global) : "memory");
}

template <Bug kBug>
__global__ void product(const float* a, const float* b, float* out, int k) {
  __shared__ float a_tile[2][8][9], b_tile[2][8][9];
  const int x = threadIdx.x, y = threadIdx.y, block = blockIdx.x;
  const float* a_row = a + (block * 8 + y) * k;
  const float* b_row = b + y * k + (kBug == kReadsPastB ? k : 0);
  const auto load = [&](int stage, int k0) {
    if (kBug != kOneTileIsNeverLoaded || k0 != 8) copy_word(&a_tile[stage][y][x], a_row + k0 + x);
    copy_word(&b_tile[stage][y][x], b_row + k0 + x);
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  float sum = 0;
  load(0, 0);
#pragma unroll 1
  for (int k0 = 0; k0 < k; k0 += kBug == kNeverEnds ? 0 : 8) {
    const int stage = k0 / 8 % 2;
    if (k0 + 8 < k) {
      load(1 - stage, k0 + 8);
      asm volatile("cp.async.wait_group %0;" ::"n"(kBug == kWaitsForTooFewCopies ? 2 : 1) : "memory");
    } else {
      asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
    if (kBug == kDivergentBarrier) {
      if (x < 4) __syncthreads();
    } else if (kBug == kBarrierForMoreThreads) {
      asm volatile("bar.sync 1, 128;" ::: "memory");
    } else if (kBug != kNoBarrierAfterLoad) {
      __syncthreads();
    }
#pragma unroll 1
    for (int d = 0; d < 8; ++d) sum += a_tile[stage][y][d] * b_tile[stage][x][d];
    if (kBug != kNoBarrierBeforeOverwrite) __syncthreads();
  }
  if (kBug == kReadsPastTile) sum += b_tile[1][y + 1][x];
  if (kBug == kMisaligned) {
    const float2 pair = *reinterpret_cast<const float2*>(a_row + 1 + 2 * x);
    sum += pair.x * pair.y;
  }
  if (kBug == kShuffleWithoutHalfTheWarp && y < 2) sum += __shfl_sync(0xffffffffu, sum, 0);
  out[(kBug == kBlocksWriteTheSame ? 0 : block * 64) + y * 8 + x] = sum;
}

#define GK_INSTANTIATE(bug) template __global__ void product<bug>(const float*, const float*, float*, int);
GK_INSTANTIATE(kNoBug)
GK_INSTANTIATE(kNoBarrierAfterLoad)
GK_INSTANTIATE(kNoBarrierBeforeOverwrite)
GK_INSTANTIATE(kWaitsForTooFewCopies)
GK_INSTANTIATE(kReadsPastB)
GK_INSTANTIATE(kReadsPastTile)
GK_INSTANTIATE(kMisaligned)
GK_INSTANTIATE(kDivergentBarrier)
GK_INSTANTIATE(kBarrierForMoreThreads)
GK_INSTANTIATE(kShuffleWithoutHalfTheWarp)
GK_INSTANTIATE(kBlocksWriteTheSame)
GK_INSTANTIATE(kOneTileIsNeverLoaded)
GK_INSTANTIATE(kNeverEnds)
