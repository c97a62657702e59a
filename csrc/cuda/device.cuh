// What every CUDA kernel shares: launches, 16-byte accesses, and the only inline PTX.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace greenkernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr int64_t kMostItems = 65535;  // of a grid's z

// Blocks that cover `size` elements, `tile` each.
inline int64_t blocks_for(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

inline bool is_aligned(const void* pointer, size_t bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// Puts a kernel into `stream` and returns at once; an error of the launch itself comes back, later ones do
// not.
template <typename... Params>
cudaError_t launch(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Params... params) {
  void* pointers[] = {&params...};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream);
}

// Lets blocks of a kernel have that much dynamic shared memory. Nothing that a stream waits for.
template <typename... Params>
cudaError_t allow_shared_bytes(void (*kernel)(Params...), size_t bytes) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                              cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}

// Of the current device.
inline cudaError_t count_multiprocessors(int* count) {
  int device;
  const cudaError_t status = cudaGetDevice(&device);
  if (status != cudaSuccess) return status;
  return cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device);
}

// blockIdx.x and z, read anew at each call: so nothing made of them holds a register from one use to the
// next.
__device__ inline int block_x() {
  int index;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(index));
  return index;
}
__device__ inline int block_z() {
  int index;
  asm volatile("mov.u32 %0, %%ctaid.z;" : "=r"(index));
  return index;
}

// 16 bytes at once; the pointer is a multiple of 16.
__device__ inline float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ inline int4 load4(const int* from) { return *reinterpret_cast<const int4*>(from); }
__device__ inline void store4(float* to, float4 values) { *reinterpret_cast<float4*>(to) = values; }

// The same in global memory. As PTX, since nvcc splits the plain store where a branch beside it stores the
// four one by one: 4x the sectors.
__device__ inline void store4_global(float* to, float4 values) {
  asm volatile("st.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "f"(values.x),
               "f"(values.y), "f"(values.z), "f"(values.w)
               : "memory");
}

__device__ inline void store4_global(int* to, int4 values) {
  asm volatile("st.global.v4.s32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)), "r"(values.x),
               "r"(values.y), "r"(values.z), "r"(values.w)
               : "memory");
}

// kCount neighbours in global memory: four at once, or one.
template <typename T, int kCount>
__device__ inline void load_neighbours(T (&to)[kCount], const T* from) {
  static_assert(kCount == 4 || kCount == 1);
  if constexpr (kCount == 4) {
    const auto four = load4(from);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else {
    to[0] = from[0];
  }
}
__device__ inline void store_neighbours(float* to, const float (&values)[4]) {
  store4_global(to, make_float4(values[0], values[1], values[2], values[3]));
}
__device__ inline void store_neighbours(int* to, const int (&values)[4]) {
  store4_global(to, make_int4(values[0], values[1], values[2], values[3]));
}
template <typename T>
__device__ inline void store_neighbours(T* to, const T (&values)[1]) {
  to[0] = values[0];
}

// Two neighbours, or the first alone.
template <typename T>
__device__ inline void load2(T (&to)[2], const T* from, bool both) {
  to[0] = from[0];
  to[1] = both ? from[1] : T(0);
}

__device__ inline void store2_global(float* to, float first, float second) {
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "f"(first), "f"(second)
               : "memory");
}
__device__ inline void store2_global(int* to, int first, int second) {
  asm volatile("st.global.v2.s32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "r"(first), "r"(second)
               : "memory");
}

// The address of something in shared memory, for what takes one: 32 bits, that arithmetic is half price with.
__device__ inline unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Starts to copy 4 or 16 bytes from global to shared memory, or to put zeros there; both addresses are
// multiples of that. Nothing is read through `from` without `wanted`. Copies of 16 bytes pass by L1: their
// sectors are whole.
template <int kBytes>
__device__ inline void copy_async(unsigned target, const void* from, bool wanted) {
  static_assert(kBytes == 4 || kBytes == 16);
  const auto source = __cvta_generic_to_global(from);
  const int count = wanted ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source), "r"(count)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(target), "l"(source), "r"(count)
                 : "memory");
  }
}

template <int kBytes>
__device__ inline void copy_async(void* to, const void* from, bool wanted) {
  copy_async<kBytes>(shared_address(to), from, wanted);
}

// Returns when every copy that this thread started is there; other threads see it behind a barrier.
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Closes a group of the copies that this thread started; wait_for_groups returns when all but the latest
// kOpen are there.
__device__ inline void close_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kOpen>
__device__ inline void wait_for_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kOpen) : "memory");
}

// Four 8 x 16-byte matrices from shared memory: lane 8 j + r has the address of row r of matrix j; of each,
// lane l gets bytes 4 (l % 4) and on of row l / 4.
__device__ inline void load_matrices(uint32_t (&to)[4], unsigned from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from)
               : "memory");
}

// Four bytes of shared memory.
__device__ inline uint32_t load_shared(unsigned from) {
  uint32_t value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
  return value;
}

// sums [16, 8] += a [16, 32] b [8, 32]^T, fragments as the PTX manual lays them out; a is int8, or uint8.
template <bool kUnsigned>
__device__ inline void multiply_add_int8(int (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#define GK_MMA(type)                                                                     \
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32." type                             \
               ".s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])              \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
  if constexpr (kUnsigned) {
    GK_MMA("u8");
  } else {
    GK_MMA("s8");
  }
#undef GK_MMA
}

// sum + the four products of the bytes of a, int8 or uint8, with those of b, int8.
template <bool kUnsigned>
__device__ inline int multiply_add_bytes(int a, int b, int sum) {
  int result;
  if constexpr (kUnsigned) {
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  } else {
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  }
  return result;
}

// sums [16, 8] += a [16, 8] b [8, 8]^T of TF32 in the registers of float32, of which tensor cores do not look
// at the last 13 bits. They cut off what a sum has too many bits for.
__device__ inline void multiply_add_tf32(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace greenkernels::cuda
