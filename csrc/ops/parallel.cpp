// The threads of the kernels are torch's own pool: torch.set_num_threads is obeyed and no second OpenMP
// runtime comes in.
#include "cpu/parallel.h"

#include <torch/csrc/stable/ops.h>

namespace greenkernels::cpu {

int thread_limit() { return static_cast<int>(torch::stable::get_num_threads()); }

void run_on_threads(int threads, void (*task)(const void* context, int i), const void* context) {
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) task(context, static_cast<int>(i));
  });
}

}  // namespace greenkernels::cpu
