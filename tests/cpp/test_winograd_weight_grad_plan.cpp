// The cutting of a Winograd weight gradient into work: every tile and panel once, threads loaded evenly,
// scratch bounded.
#include <algorithm>

#include "check.h"
#include "cpu/winograd_conv2d/weight_grad_plan.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::cpu;

constexpr int64_t kMaps[] = {1, 2, 5, 7, 14, 28, 56, 112};
constexpr int64_t kChannels[] = {1, 3, 16, 17, 64, 100, 128, 256, 512, 1024};
constexpr int64_t kMiB = int64_t{1} << 20;

WinogradGradJob<float> job_of(int64_t batch, int64_t map, int64_t in_c, int64_t out_c, int threads) {
  WinogradWeightGradArgs<float> args{};
  args.batch = batch, args.in_c = in_c, args.out_c = out_c;
  args.h = args.w = map;
  args.pad_h = args.pad_w = 1;
  args.tile = 4;
  return winograd_grad_job(args, threads, 2 * kMiB);
}

template <typename Test>
void for_each_job(int threads, const Test& test) {
  for (const int64_t map : kMaps)
    for (const int64_t in_c : kChannels)
      for (const int64_t out_c : kChannels) test(job_of(8, map, in_c, out_c, threads));
}

void parts_cover_all_tiles_once() {
  for (int threads = 1; threads <= 64; threads += 3) {
    for_each_job(threads, [](const WinogradGradJob<float>& job) {
      int64_t covered = 0;
      for (int64_t chunk = 0; chunk < job.plan.chunks; ++chunk) {
        GK_EXPECT(job.rows(chunk) >= 1 && job.rows(chunk) <= job.depth, "%ld rows", long(job.rows(chunk)));
        covered += job.rows(chunk);
      }
      GK_EXPECT(covered == job.input.tiles, "%ld of %ld tiles", long(covered), long(job.input.tiles));
      for (int64_t block = 0; block < job.input.plan.blocks; ++block) {
        const int64_t strip = std::min(job.input.rows(block), job.input.tiles_w);
        GK_EXPECT(strip <= job.strip_tiles, "a strip of %ld tiles", long(strip));
      }
    });
  }
}

void scratch_is_bounded() {
  for_each_job(2, [](const WinogradGradJob<float>& job) {
    const auto& plan = job.plan;
    const int64_t maps = (job.v_size() + job.z_size()) * int64_t{sizeof(float)};
    const int64_t sums = plan.shares * job.share_size() * int64_t{sizeof(float)};
    const bool fused = !plan.apart && plan.chunks == 1 && plan.shares == 1;
    // Of one thread; where threads work together they share it. Strides add a line for each tap.
    const int64_t bytes = plan.apart ? maps + sums / plan.shares : maps + (fused ? 0 : sums);
    GK_EXPECT(bytes <= 33 * kMiB, "%ld tiles of %ld to %ld channels: %ld bytes", long(job.input.tiles),
              long(job.input.args.in_c), long(job.grad.args.in_c), long(bytes));
  });
}

// The largest share over the mean share of tiles (apart) or of products (together), chunks as parallel_for
// cuts them.
double imbalance(const WinogradGradJob<float>& job, int threads) {
  const auto& plan = job.plan;
  if (plan.apart) {
    const int64_t chunks = (plan.chunks + plan.shares - 1) / plan.shares;
    return double(chunks * job.depth) * threads / job.input.tiles;
  }
  const int64_t tasks = plan.panels * ((job.in_blocks + plan.group - 1) / plan.group) * plan.shares;
  return double((tasks + threads - 1) / threads) * threads / tasks;
}

void threads_get_even_shares_of_large_layers() {
  for (int threads = 1; threads <= 64; ++threads) {
    const double apart = imbalance(job_of(32, 56, 64, 64, threads), threads);
    GK_EXPECT(apart <= 1.1, "64 channels, %d threads: %g", threads, apart);
  }
  for (const int threads : {1, 2, 4, 8, 16, 32, 64}) {
    const double together = imbalance(job_of(32, 28, 256, 256, threads), threads);
    GK_EXPECT(together <= 1.1, "256 channels, %d threads: %g", threads, together);
  }
}

void little_work_stays_on_one_thread() {
  const WinogradGradPlan plan = winograd_grad_plan({4, 8, 8, 4, sizeof(float), 64, 2 * kMiB});
  GK_EXPECT(plan.apart && plan.shares == 1 && plan.chunks == 1, "%ld shares", long(plan.shares));
}

void sums_decide_whether_threads_work_apart() {
  GK_EXPECT(job_of(8, 56, 64, 64, 2).plan.apart, "576 KiB of sums fit in half of 2 MiB");
  GK_EXPECT(!job_of(8, 28, 128, 128, 2).plan.apart, "2.3 MiB do not");
  GK_EXPECT(job_of(8, 7, 512, 512, 2).plan.chunks == 1, "few tiles are one chunk");
  GK_EXPECT(job_of(8, 56, 512, 512, 2).plan.chunks > 1, "many are more");
  GK_EXPECT(job_of(64, 14, 64, 128, 64).plan.shares > 1, "few sums: threads share the depth");
}

}  // namespace

int main() {
  parts_cover_all_tiles_once();
  scratch_is_bounded();
  threads_get_even_shares_of_large_layers();
  little_work_stays_on_one_thread();
  sums_decide_whether_threads_work_apart();
  return greenkernels::test::result();
}
