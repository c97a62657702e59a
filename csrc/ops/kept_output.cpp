// The list behind output_map, and torch's own function for foreign memory, found while the program runs: the
// binary is made for torch from 2.10 on.
#include "ops/kept_output.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <dlfcn.h>
#endif

#include "cpu/forks.h"
#include "ops/huge_pages.h"

namespace greenkernels::ops {

namespace {

constexpr int64_t kLeastKept = 64 << 10;  // malloc keeps less than this (M_MMAP_THRESHOLD, 128 KiB) by itself
constexpr int64_t kPage = 4096;

// torch_from_blob of torch/csrc/stable/c/shim.h, torch 2.11.
using FromBlob = AOTITorchError (*)(void* data, int64_t dim, const int64_t* sizes, const int64_t* strides,
                                    int64_t storage_offset, int32_t dtype, int32_t device_type,
                                    int32_t device_index, AtenTensorHandle* out, int32_t layout,
                                    const uint8_t* opaque, int64_t opaque_size,
                                    void (*deleter)(void* data, void* context), void* context);

FromBlob from_blob() {
#if defined(__linux__)
  static const auto found = reinterpret_cast<FromBlob>(dlsym(RTLD_DEFAULT, "torch_from_blob"));
  return found;
#else
  return nullptr;
#endif
}

// Memory of outputs. Safe to use from any thread.
class OutputMemory {
 public:
  // At least `bytes`; `capacity` is what must be told to give(). nullptr where there is none.
  void* take(int64_t bytes, int64_t* capacity) {
    const int64_t alignment = bytes >= 2 * cpu::kHugePage ? cpu::kHugePage : kPage;
    const int64_t whole = (bytes + alignment - 1) / alignment * alignment;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto fits = [=](const Buffer& b) {
        return b.capacity >= bytes && b.capacity <= whole + whole / 4;
      };
      auto best = free_.end();
      for (auto it = free_.begin(); it != free_.end(); ++it) {
        if (fits(*it) && (best == free_.end() || it->capacity <= best->capacity)) best = it;
      }
      if (best != free_.end()) {
        const Buffer found = *best;
        free_.erase(best);
        free_bytes_ -= found.capacity;
        *capacity = found.capacity;
        return found.data;
      }
    }
    *capacity = whole;
    void* const data = std::aligned_alloc(size_t(alignment), size_t(whole));
    if (data) cpu::prefer_huge_pages(data, whole);
    return data;
  }

  void give(void* data, int64_t capacity) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
      free_.push_back({data, capacity});
    } catch (const std::bad_alloc&) {
      return std::free(data);
    }
    free_bytes_ += capacity;
    while (free_bytes_ > kKeptBytes) {
      std::free(free_.front().data);
      free_bytes_ -= free_.front().capacity;
      free_.erase(free_.begin());
    }
  }

  // Never destroyed: tensors may go after static destructors ran.
  static OutputMemory& instance() {
    static auto* const only = new OutputMemory;
    return *only;
  }

  static std::mutex& mutex() { return instance().mutex_; }

 private:
  struct Buffer {
    void* data;
    int64_t capacity;
  };

  std::mutex mutex_;
  std::vector<Buffer> free_;  // the one that has been free for longest first
  int64_t free_bytes_ = 0;
};

[[maybe_unused]] const bool forks_wait_for_outputs = cpu::forks_wait<OutputMemory::mutex>();

void give_back(void* data, void* capacity) {
  OutputMemory::instance().give(data, static_cast<int64_t>(reinterpret_cast<intptr_t>(capacity)));
}

}  // namespace

Tensor output_map(const char* op, const MapSizes& sizes, MapLayout layout, ScalarType dtype,
                  const Tensor& like) {
  const int32_t type = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  const double wanted = map_elements(sizes) * double(aoti_torch_dtype_element_size(type));
  if (!from_blob() || wanted < double(kLeastKept) || wanted > double(kKeptBytes / 2))
    return with_huge_pages(empty_map(op, "the output", sizes, layout, dtype, like));
  MapSizes strides;
  int64_t step = 1;
  for (const int d : dim_order(layout)) {
    strides[d] = step;
    step *= sizes[d];
  }
  return allocate(op, "the output", wanted, [&] {
    int64_t capacity;
    void* const data = OutputMemory::instance().take(int64_t(wanted), &capacity);
    if (!data) throw std::bad_alloc();
    AtenTensorHandle handle;
    const AOTITorchError failed =
        from_blob()(data, 4, sizes.data(), strides.data(), 0, type, aoti_torch_device_type_cpu(), -1, &handle,
                    aoti_torch_layout_strided(), nullptr, 0, &give_back,
                    reinterpret_cast<void*>(static_cast<intptr_t>(capacity)));
    if (failed) {
      give_back(data, reinterpret_cast<void*>(static_cast<intptr_t>(capacity)));
      throw std::bad_alloc();
    }
    return Tensor(handle);
  });
}

}  // namespace greenkernels::ops
