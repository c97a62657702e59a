// The cutting of a direct convolution into work: everything covered once, threads loaded evenly, scratch
// bounded.
#include <algorithm>

#include "check.h"
#include "cpu/direct_conv2d/plan.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::cpu;

constexpr int64_t kPixels[] = {1, 2, 13, 14, 15, 49, 196, 199, 784, 3136, 135600};
constexpr int64_t kDepths[] = {0, 1, 27, 64, 147, 576, 2304, 4608, 25088};
constexpr int64_t kMiB = int64_t{1} << 20;

DirectProblem problem(int64_t pixels, int64_t depth, int64_t out_c, int threads) {
  return {pixels, depth, 1, out_c, sizeof(float), 14, threads, 2 * kMiB};
}

void blocks_cover_all_pixels_once() {
  for (const int64_t pixels : kPixels) {
    for (int threads = 1; threads <= 64; ++threads) {
      DirectJob<float> job{};
      job.pixels = pixels;
      job.plan = direct_plan(problem(pixels, 576, 64, threads));
      int64_t covered = 0;
      for (int64_t block = 0; block < job.plan.blocks; ++block) {
        GK_EXPECT(job.rows(block) >= 1 && job.rows(block) <= job.plan.max_rows, "%ld rows of %ld",
                  long(job.rows(block)), long(job.plan.max_rows));
        covered += job.rows(block);
      }
      GK_EXPECT(covered == pixels, "%ld of %ld pixels", long(covered), long(pixels));
      GK_EXPECT(job.plan.max_rows <= 14, "%ld rows", long(job.plan.max_rows));
    }
  }
}

void little_work_stays_on_one_thread() {
  const DirectPlan plan = direct_plan(problem(10, 27, 8, 64));
  GK_EXPECT(plan.blocks == 1 && !plan.panels_outer, "%ld blocks", long(plan.blocks));
}

void scratch_is_bounded() {
  for (const int64_t pixels : kPixels) {
    for (const int64_t depth : kDepths) {
      const DirectPlan plan = direct_plan(problem(pixels, depth, 256, 2));
      const int64_t block = (depth + 15) / 16 * 16 * plan.max_rows * int64_t{sizeof(float)};
      const int64_t blocks = plan.panels_outer ? plan.blocks : plan.group;
      GK_EXPECT(block * blocks <= 32 * kMiB, "%ld pixels of depth %ld: %ld bytes", long(pixels), long(depth),
                long(block * blocks));
    }
  }
}

void deep_layers_with_few_pixels_share_out_the_panels() {
  GK_EXPECT(direct_plan(problem(49, 4608, 512, 2)).panels_outer, "3x3, 512 channels on 7x7");
  GK_EXPECT(direct_plan(problem(49, 2048, 512, 2)).panels_outer, "1x1, 2048 channels on 7x7");
  GK_EXPECT(!direct_plan(problem(3136, 64, 256, 2)).panels_outer, "1x1, 64 channels on 56x56");
}

void threads_share_out_no_input_for_a_small_weight() {
  GK_EXPECT(!direct_plan(problem(196, 96, 576, 2)).panels_outer, "2 threads, 1x1, 96 channels on 14x14");
  GK_EXPECT(direct_plan(problem(196, 96, 576, 8)).panels_outer, "8 threads read it eight times");
}

}  // namespace

int main() {
  blocks_cover_all_pixels_once();
  little_work_stays_on_one_thread();
  scratch_is_bounded();
  deep_layers_with_few_pixels_share_out_the_panels();
  threads_share_out_no_input_for_a_small_weight();
  return greenkernels::test::result();
}
