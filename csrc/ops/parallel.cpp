// parallel_for of the kernels on torch's own pool: torch.set_num_threads is obeyed and no second OpenMP
// runtime comes in.
#include "cpu/parallel.h"

#include <torch/csrc/stable/ops.h>

#include <exception>
#include <mutex>

namespace greenkernels::cpu {
namespace {

thread_local bool in_region = false;  // inside a body: what it starts itself runs in place

struct RegionGuard {
  bool outer = in_region;
  RegionGuard() { in_region = true; }
  ~RegionGuard() { in_region = outer; }
};

}  // namespace

int num_threads() { return in_region ? 1 : static_cast<int>(torch::stable::get_num_threads()); }

void parallel_for_chunks(int64_t count, int64_t grain, void (*body)(const void*, int64_t, int64_t),
                         const void* context) {
  if (count <= 0) return;
  if (in_region || count <= grain || num_threads() == 1) {
    body(context, 0, count);
    return;
  }
  // An exception that leaves a body would reach the caller as "API call failed", so it is carried around
  // torch's loop.
  std::exception_ptr error;
  std::mutex error_lock;
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    const RegionGuard guard;
    try {
      body(context, begin, end);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_lock);
      if (!error) error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
}

}  // namespace greenkernels::cpu
