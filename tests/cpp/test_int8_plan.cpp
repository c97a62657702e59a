// The cutting of an int8 product into work: everything covered once, threads loaded evenly, scratch bounded.
#include <algorithm>

#include "check.h"
#include "cpu/int8_gemm/plan.h"
#include "cpu/int8_panel.h"
#include "cpu/parallel.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::cpu;

constexpr int64_t kRows[] = {1, 2, 8, 9, 10, 11, 32, 128, 196, 1000, 4096, 135600};
constexpr int64_t kDepths[] = {0, 1, 64, 576, 4096, 100000};
constexpr int64_t kMiB = int64_t{1} << 20;

Int8Problem problem(int64_t m, int64_t n, int64_t k, int threads) {
  return {m, n, k, 1, 10, threads, 2 * kMiB};
}

void blocks_cover_all_rows_once() {
  for (const int64_t m : kRows) {
    for (int threads = 1; threads <= 64; ++threads) {
      const Int8Plan plan = int8_plan(problem(m, 512, 512, threads));
      Int8Product job{};
      job.m = m;
      job.blocks = plan.blocks;
      int64_t covered = 0;
      for (int64_t block = 0; block < job.blocks; ++block) {
        GK_EXPECT(job.rows(block) >= 1 && job.rows(block) <= plan.max_rows, "%ld rows of %ld",
                  long(job.rows(block)), long(plan.max_rows));
        covered += job.rows(block);
      }
      GK_EXPECT(covered == m && plan.max_rows <= 10, "%ld of %ld rows", long(covered), long(m));
    }
  }
}

void scratch_is_bounded() {
  for (const int64_t m : kRows) {
    for (const int64_t k : kDepths) {
      const Int8Plan plan = int8_plan(problem(m, 4096, k, 2));
      const int64_t block = (k + 63) / 64 * 64 * plan.max_rows;
      const int64_t blocks = plan.panels_outer ? plan.blocks : plan.group;
      GK_EXPECT(block * blocks <= 36 * kMiB, "%ld rows of %ld: %ld bytes", long(m), long(k),
                long(block * blocks));
    }
  }
}

void few_rows_share_out_the_panels() {
  for (const int64_t m : {1, 8, 32}) {
    GK_EXPECT(int8_plan(problem(m, 4096, 4096, 2)).panels_outer, "%ld rows", long(m));
  }
  GK_EXPECT(!int8_plan(problem(4096, 1024, 1024, 2)).panels_outer, "4096 rows");
}

void a_weight_that_stays_in_l2_is_streamed_past_the_rows() {
  const Int8Plan plan = int8_plan(problem(1024, 1024, 1024, 2));
  GK_EXPECT(!plan.panels_outer, "%ld blocks", long(plan.blocks));
  GK_EXPECT(plan.blocks % (2 * kPiecesAThread) == 0, "%ld blocks", long(plan.blocks));
}

void little_work_stays_on_one_thread() {
  const Int8Plan plan = int8_plan(problem(2, 64, 64, 64));
  const int64_t tasks = plan.panels_outer ? 2 : plan.blocks;
  GK_EXPECT(plan.grain >= tasks && plan.pack_grain >= plan.blocks, "grain %ld", long(plan.grain));
}

// The largest share of the work over the mean, where there is enough for all.
void threads_are_loaded_evenly() {
  for (const int64_t m : {1, 32, 512, 4096}) {
    for (int threads = 1; threads <= 64; ++threads) {
      const Int8Plan plan = int8_plan(problem(m, 8192, 4096, threads));
      const int64_t units = plan.panels_outer ? 8192 / 32 : plan.blocks;
      const double largest = double((units + threads - 1) / threads), mean = double(units) / threads;
      if (units >= 10 * threads)
        GK_EXPECT(largest <= 1.1 * mean, "%ld units, %d threads", long(units), threads);
    }
  }
}

}  // namespace

int main() {
  blocks_cover_all_rows_once();
  scratch_is_bounded();
  few_rows_share_out_the_panels();
  a_weight_that_stays_in_l2_is_streamed_past_the_rows();
  little_work_stays_on_one_thread();
  threads_are_loaded_evenly();
  return test::result();
}
