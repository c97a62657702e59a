// The cutting of a Winograd convolution into work: everything covered once, threads loaded evenly, scratch
// bounded.
#include <algorithm>
#include <set>
#include <vector>

#include "check.h"
#include "cpu/winograd_conv2d/ahead.h"
#include "cpu/winograd_conv2d/plan.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::cpu;

constexpr int64_t kTiles[] = {1, 2, 3, 13, 14, 15, 16, 27, 49, 64, 196, 199, 784, 2128, 3136, 25088};
constexpr int64_t kChannels[] = {1, 3, 16, 64, 100, 256, 512, 1024};
constexpr int64_t kMiB = int64_t{1} << 20;

WinogradProblem problem(int64_t tiles, int64_t channels, int threads) {
  return {tiles, channels, channels, 4, sizeof(float), 14, threads, 2 * kMiB};
}

void blocks_cover_all_tiles_once() {
  for (const int64_t tiles : kTiles) {
    for (int threads = 1; threads <= 64; ++threads) {
      WinogradJob<float> job{};
      job.tiles = tiles;
      job.plan = winograd_plan(problem(tiles, 64, threads));
      int64_t covered = 0;
      for (int64_t block = 0; block < job.plan.blocks; ++block) {
        GK_EXPECT(job.rows(block) >= 1 && job.rows(block) <= job.plan.max_rows, "%ld rows of %ld",
                  long(job.rows(block)), long(job.plan.max_rows));
        covered += job.rows(block);
      }
      GK_EXPECT(covered == tiles, "%ld of %ld tiles", long(covered), long(tiles));
      GK_EXPECT(job.plan.max_rows <= 14, "%ld rows", long(job.plan.max_rows));
    }
  }
}

// Blocks of the thread that gets most, where all threads take pieces equally fast.
int64_t most_blocks(const WinogradPlan& plan, int threads) {
  const auto first_block = [&](int thread) {  // a thread starts on a stretch of pieces of its own
    return plan.blocks * (plan.pieces * thread / threads) / plan.pieces;
  };
  int64_t most = 0;
  for (int thread = 0; thread < threads; ++thread)
    most = std::max(most, first_block(thread + 1) - first_block(thread));
  return most;
}

// Largest share of tiles over the mean share.
double imbalance(int64_t tiles, const WinogradPlan& plan, int threads) {
  return double(std::min(tiles, most_blocks(plan, threads) * plan.max_rows)) * threads / tiles;
}

void threads_get_even_shares_of_large_maps() {
  for (int threads = 1; threads <= 64; ++threads) {
    const int64_t tiles = 3136;  // a 224 x 224 map
    const WinogradPlan plan = winograd_plan(problem(tiles, 64, threads));
    GK_EXPECT(imbalance(tiles, plan, threads) <= 1.1, "%d threads: %g", threads,
              imbalance(tiles, plan, threads));
  }
}

// The weight of these is a little larger than L2, so that pieces are of several blocks.
void threads_get_as_many_blocks_of_small_maps() {
  for (const int64_t tiles : {100, 196, 300, 784}) {
    for (int threads = 2; threads <= 4; ++threads) {
      const WinogradPlan plan = winograd_plan({tiles, 64, 64, 4, sizeof(float), 14, threads, kMiB});
      GK_EXPECT(most_blocks(plan, threads) == (plan.blocks + threads - 1) / threads,
                "%ld tiles, %d threads: %ld of %ld blocks", long(tiles), threads,
                long(most_blocks(plan, threads)), long(plan.blocks));
    }
  }
}

void little_work_stays_on_one_thread() {
  const WinogradPlan plan = winograd_plan({4, 8, 8, 4, sizeof(float), 14, 64, 2 * kMiB});
  GK_EXPECT(plan.blocks == 1 && !plan.panels_outer, "%ld blocks", long(plan.blocks));
}

void scratch_is_bounded() {
  for (const int64_t tiles : kTiles) {
    for (const int64_t channels : kChannels) {
      const WinogradPlan plan = winograd_plan(problem(tiles, channels, 2));
      const int64_t block = 36 * ((channels + 15) / 16 * 16) * plan.max_rows * int64_t{sizeof(float)};
      const int64_t bytes = block * (plan.panels_outer ? plan.blocks : plan.group);
      GK_EXPECT(bytes <= 32 * kMiB, "%ld tiles of %ld channels: %ld bytes", long(tiles), long(channels),
                long(bytes));
    }
  }
}

void deep_layers_with_few_tiles_stream_the_weight_once() {
  for (const int64_t tiles : {4, 16, 49}) {
    GK_EXPECT(winograd_plan(problem(tiles, 512, 2)).panels_outer, "%ld tiles", long(tiles));
  }
  GK_EXPECT(!winograd_plan(problem(3136, 64, 2)).panels_outer,
            "a large shallow layer keeps its blocks outermost");
}

// Every line that the panel's channels of the blocks lie in is on the list: what is missing is only slow, so
// nothing else would tell.
void output_lines_are_all_fetched(MapLayout layout, int64_t channels, int64_t h, int64_t w) {
  alignas(64) static float out[2 * 70 * 40 * 40];
  WinogradConv2dArgs<float> args{};
  args.out = out;
  args.out_layout = args.input_layout = layout;
  args.batch = 2, args.in_c = 64, args.out_c = channels, args.h = h, args.w = w, args.pad_h = args.pad_w = 1;
  args.tile = 4;
  const WinogradJob<float> job = winograd_job(args, 14, 1, 2 * kMiB);
  std::vector<PrefetchRun> runs(1 << 16);
  int64_t missing = 0;
  for (int64_t panel = 0; panel < job.panels; ++panel) {
    const int64_t count = winograd_output_lines(job, panel, {0, job.panels, 0, job.plan.blocks}, 4,
                                                int64_t(runs.size()), runs.data());
    GK_EXPECT(count % 4 == 0 && count < int64_t(runs.size()), "%ld runs", long(count));
    std::set<int64_t> fetched;
    for (int64_t i = 0; i < count; ++i)
      for (int line = 0; line < kPrefetchLines; ++line)
        fetched.insert((runs[i].line + line * runs[i].step - reinterpret_cast<char*>(out)) / kCacheLine);
    for (int64_t c = panel * kWinogradPanel; c < std::min(channels, (panel + 1) * kWinogradPanel); ++c)
      for (int64_t p = 0; p < 2 * h * w; ++p) {
        const bool nhwc = layout == MapLayout::kNhwc;
        const int64_t element = nhwc ? p * channels + c : (p / (h * w) * channels + c) * h * w + p % (h * w);
        missing += !fetched.count(element * int64_t{sizeof(float)} / kCacheLine);
      }
  }
  GK_EXPECT(missing == 0, "%ld elements, %ld channels %ld x %ld", long(missing), long(channels), long(h),
            long(w));
}

// All calls of the micro-kernel on a tap fetch the tap after it, unless that is more than a line for each k.
void the_next_tap_is_fetched(int64_t depth, int64_t parts) {
  const int64_t bytes = depth * kWinogradPanel * int64_t{sizeof(float)};
  const char* first = nullptr;
  std::set<int64_t> fetched;
  for (int64_t part = 0; part < parts; ++part) {
    const PrefetchStream stream = prefetch_part(first, bytes, depth, part, parts);
    for (int64_t k = 0; k < depth; ++k)
      fetched.insert(((stream.next - first) + k * stream.step) / kCacheLine);
  }
  const int64_t lines = std::min(bytes / kCacheLine, depth * parts);
  for (int64_t line = 0; line < lines; ++line)
    GK_EXPECT(fetched.count(line), "line %ld of %ld, depth %ld, %ld parts", long(line), long(lines),
              long(depth), long(parts));
}

}  // namespace

int main() {
  blocks_cover_all_tiles_once();
  threads_get_even_shares_of_large_maps();
  threads_get_as_many_blocks_of_small_maps();
  little_work_stays_on_one_thread();
  scratch_is_bounded();
  deep_layers_with_few_tiles_stream_the_weight_once();
  for (const int64_t depth : {16, 48, 512})
    for (const int64_t parts : {1, 2, 3, 4, 7}) the_next_tap_is_fetched(depth, parts);
  for (const MapLayout layout : {MapLayout::kNhwc, MapLayout::kNchw}) {
    output_lines_are_all_fetched(layout, 64, 16, 20);
    output_lines_are_all_fetched(layout, 70, 13, 37);
    output_lines_are_all_fetched(layout, 33, 40, 40);
    output_lines_are_all_fetched(layout, 5, 7, 9);
  }
  return greenkernels::test::result();
}
