// A stand-in for the CUDA runtime: nvcc's host code links with this instead of libcudart, so that launchers
// run as they are, and a launch goes to a callback: the PTX simulator (greenkernels/ptxsim/device.py), which
// hears of the memory of each call too.
//
// Sizes are checked as the driver of a device of compute capability 8.0 does; how many multiprocessors it has
// is for the simulator to say. One thread at a time.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace {

// Takes the mangled name, grid and block (x, y, z each), bytes of dynamic shared memory, pointers to the
// arguments.
using Callback = int (*)(const char*, const unsigned*, const unsigned*, size_t, void**);
// Takes memory that kernels may touch from now on.
using UseCallback = void (*)(const void*, size_t);

constexpr int kSharedBytes = 48 << 10;        // of a block, without asking
constexpr int kSharedBytesOptIn = 163 << 10;  // with cudaFuncAttributeMaxDynamicSharedMemorySize

struct Function {
  std::string name;
  size_t dynamic_shared_bytes = kSharedBytes;
};

std::map<const void*, Function>& functions() {
  static std::map<const void*, Function> all;  // made on first use: host code registers before main
  return all;
}

Callback callback = nullptr;
UseCallback use_callback = nullptr;
int multiprocessors = 1;
cudaError_t last_error = cudaSuccess;

cudaError_t keep(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

bool is_valid(dim3 grid, dim3 block) {
  const unsigned least = std::min({grid.x, grid.y, grid.z, block.x, block.y, block.z});
  const bool fits = grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 && block.x <= 1024 &&
                    block.y <= 1024 && block.z <= 64;
  return least > 0 && fits && uint64_t{block.x} * block.y * block.z <= 1024;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) void gk_sim_set_device(Callback function, UseCallback use, int count) {
  callback = function;
  use_callback = use;
  multiprocessors = count;
}

// What csrc/cuda_ops calls for each tensor of a call.
void gk_sim_use(const void* data, size_t bytes) {
  if (use_callback != nullptr) use_callback(data, bytes);
}

// What nvcc's host code calls before main. Only the names of kernels matter.
void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 1; }
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, void*, void*, void*,
                            void*, int*) {
  functions()[host].name = name;
}

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments,
                             size_t shared_bytes, cudaStream_t) {
  const auto found = functions().find(function);
  if (found == functions().end()) return keep(cudaErrorInvalidDeviceFunction);
  if (!is_valid(grid, block)) return keep(cudaErrorInvalidConfiguration);
  if (shared_bytes > found->second.dynamic_shared_bytes) return keep(cudaErrorInvalidValue);
  if (callback == nullptr) return keep(cudaErrorInsufficientDriver);
  const char* name = found->second.name.c_str();
  return keep(static_cast<cudaError_t>(callback(name, &grid.x, &block.x, shared_bytes, arguments)));
}

// Newer host code asks for a handle first; the function itself serves.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared_bytes, cudaStream_t stream) {
  return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream);
}

// The stub of each kernel, which `kernel<<<...>>>(...)` calls, takes its sizes from here.
unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, struct CUstream_st*) {
  return cudaErrorNotSupported;  // launches go through cuda/device.cuh, which calls cudaLaunchKernel
}
cudaError_t __cudaPopCallConfiguration(dim3*, dim3*, size_t*, void*) { return cudaErrorNotSupported; }

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  const auto found = functions().find(function);
  if (found == functions().end()) return keep(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return keep(cudaErrorNotSupported);
  if (value < 0 || value > kSharedBytesOptIn) return keep(cudaErrorInvalidValue);
  found->second.dynamic_shared_bytes = value;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute != cudaDevAttrMultiProcessorCount) return keep(cudaErrorNotSupported);
  *value = multiprocessors;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorString(cudaError_t) { return "an error of the simulated device"; }

}  // extern "C"
