// Occupancy of a kernel, by CUDA's own cuda_occupancy.h, which needs no GPU: only the constants of one.
// Usage: occupancy ARCHITECTURE THREADS REGISTERS STATIC_SHARED_BYTES DYNAMIC_SHARED_BYTES
#include <cuda_occupancy.h>

#include <cstdio>
#include <cstdlib>

namespace {

// Per multiprocessor and, of shared memory, per block: CUDA C++ Programming Guide, "Compute Capabilities".
struct Device {
  int architecture, threads, shared_bytes, block_shared_bytes;
};
constexpr Device kDevices[] = {
    {80, 2048, 164 << 10, 163 << 10}, {86, 1536, 100 << 10, 99 << 10},   {89, 1536, 100 << 10, 99 << 10},
    {90, 2048, 228 << 10, 227 << 10}, {100, 2048, 228 << 10, 227 << 10}, {120, 1536, 100 << 10, 99 << 10},
};

const Device* find(int architecture) {
  for (const Device& device : kDevices) {
    if (device.architecture == architecture) return &device;
  }
  return nullptr;
}

}  // namespace

int main(int count, char** words) {
  const Device* device = count == 6 ? find(std::atoi(words[1])) : nullptr;
  if (device == nullptr) {
    std::fprintf(stderr, "usage: occupancy ARCHITECTURE THREADS REGISTERS STATIC_SHARED DYNAMIC_SHARED\n");
    return 2;
  }
  const int threads = std::atoi(words[2]), registers = std::atoi(words[3]),
            dynamic_shared = std::atoi(words[5]);
  cudaOccDeviceProp properties;
  properties.computeMajor = device->architecture / 10;
  properties.computeMinor = device->architecture % 10;
  properties.maxThreadsPerBlock = 1024;
  properties.maxThreadsPerMultiprocessor = device->threads;
  properties.regsPerBlock = properties.regsPerMultiprocessor = 65536;
  properties.warpSize = 32;
  properties.sharedMemPerBlock = 48 << 10;
  properties.sharedMemPerMultiprocessor = device->shared_bytes;
  properties.sharedMemPerBlockOptin = device->block_shared_bytes;
  properties.reservedSharedMemPerBlock = 1 << 10;
  properties.numSms = 1;

  cudaOccFuncAttributes kernel{};
  kernel.maxThreadsPerBlock = 1024;
  kernel.numRegs = registers;
  kernel.sharedSizeBytes = std::atoi(words[4]);
  kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
  kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  kernel.maxDynamicSharedSizeBytes = device->block_shared_bytes - kernel.sharedSizeBytes;
  kernel.numBlockBarriers = 1;

  cudaOccDeviceState state;
  state.cacheConfig = CACHE_PREFER_NONE;
  state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  cudaOccResult result;
  const auto status =
      cudaOccMaxActiveBlocksPerMultiprocessor(&result, &properties, &kernel, &state, threads, dynamic_shared);
  if (status != CUDA_OCC_SUCCESS) return 1;
  const int blocks = result.activeBlocksPerMultiprocessor;
  std::printf("{\"blocks\": %d, \"occupancy\": %.4f}\n", blocks, double(blocks) * threads / device->threads);
}
