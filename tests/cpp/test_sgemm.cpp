// sgemm against a naive product in double: ragged sizes, both ways to store operands and output, packed
// weights, skip connections, batches, every instruction set; and the plan that shares the work out.
#include "api/sgemm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "cpu/sgemm/plan.h"
#include "raw/parallel.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Case {
  int64_t batch, m, n, k;
  bool a_transposed, b_transposed, packed;
  float beta = 0;
  bool out_transposed = false, skip = false;
};

const Case kCases[] = {
    {1, 1, 1, 1, false, false, false},
    {1, 17, 33, 70, false, false, true},
    {1, 14, 32, 256, true, false, false},
    {2, 15, 47, 257, false, true, false},
    {1, 3, 5, 600, true, true, false, 1},
    {1, 64, 100, 513, false, false, true, 2},
    {3, 29, 70, 17, true, true, false, -1},
    {1, 5, 7, 0, false, false, false, 3},
    {1, 200, 3, 40, true, false, true},
    {2, 33, 18, 300, false, false, false, 0, true, false},
    {1, 3, 40, 20, false, true, false, 2, true, true},
    {3, 31, 49, 257, false, false, true, 0, false, true},
    {1, 2, 70, 30, false, false, false, -1, false, true},
    {1, 30, 45, 2100, false, false, false, 2, false, true},
    {2, 17, 64, 1025, true, false, true, 0, true, true},
};

template <typename T>
struct Operand {
  std::vector<T> data;
  int64_t batch, row, depth;
};

template <typename T>
Operand<T> make(int64_t batch, int64_t rows, int64_t depth, bool transposed, unsigned seed) {
  return {random_normal<T>(batch * rows * depth, seed), rows * depth, transposed ? 1 : depth,
          transposed ? rows : 1};
}

template <typename T>
void check_case(const Case& c) {
  const Operand<T> a = make<T>(c.batch, c.m, c.k, c.a_transposed, 1);
  const Operand<T> b = make<T>(c.packed ? 1 : c.batch, c.n, c.k, c.b_transposed, 2);
  const auto bias = random_normal<T>(c.n, 3), old = random_normal<T>(c.batch * c.m * c.n, 4),
             skip = random_normal<T>(c.batch * c.m * c.n, 5);
  std::vector<T> out = old, panels(sgemm_padded_columns(c.n) * c.k + 16);
  T* packed = panels.data() + (64 - reinterpret_cast<uintptr_t>(panels.data()) % 64) % 64 / sizeof(T);
  if (c.packed) cpu::sgemm_pack(SgemmPackArgs<T>{b.data.data(), packed, b.row, b.depth, c.n, c.k});
  SgemmArgs<T> args{};
  args.a = a.data.data(), args.a_batch = a.batch, args.a_row = a.row, args.a_depth = a.depth;
  args.b = b.data.data(), args.b_batch = b.batch, args.b_row = b.row, args.b_depth = b.depth;
  args.packed = c.packed ? packed : nullptr;
  args.bias = bias.data(), args.out = out.data(), args.activation = Activation::kRelu, args.beta = c.beta;
  args.batch = c.batch, args.m = c.m, args.n = c.n, args.k = c.k;
  args.out_batch = c.m * c.n;
  args.out_row = c.out_transposed ? 1 : c.n, args.out_column = c.out_transposed ? c.m : 1;
  args.skip = c.skip ? skip.data() : nullptr, args.skip_scale = T(-0.5);
  cpu::sgemm(args);
  // Random signs: 5 standard deviations of k + 3 roundings of sums that are about sqrt(k) large.
  const double bound = 5 * std::numeric_limits<T>::epsilon() * (double(c.k) + 12);
  for (int64_t at = 0; at < int64_t(out.size()); ++at) {
    const int64_t x = at / (c.m * c.n), line = c.out_transposed ? c.m : c.n;
    const int64_t first = at / line % (c.m * c.n / line), second = at % line;
    const int64_t i = c.out_transposed ? second : first, j = c.out_transposed ? first : second;
    double sum = double(bias[j]) + double(c.beta) * double(old[at]) - (c.skip ? 0.5 * double(skip[at]) : 0);
    for (int64_t d = 0; d < c.k; ++d) {
      sum += double(a.data[x * a.batch + i * a.row + d * a.depth]) *
             double(b.data[(c.packed ? 0 : x) * b.batch + j * b.row + d * b.depth]);
    }
    const double error = std::fabs(double(out[at]) - std::max(sum, 0.0));
    GK_EXPECT(error <= bound, "m %ld n %ld k %ld: error %g above %g", long(c.m), long(c.n), long(c.k), error,
              bound);
  }
}

// Few rows of a deep product, whose b all threads pack before they multiply: at once, and by columns where it
// is larger than what is packed at a time.
void test_packs_first() {
  constexpr int kThreads = 16;
  const Case kAtOnce{1, 28, 70, 16384, false, false, false, 2, false, true},
      kByColumns{1, 28, 520, 16384, false, true, false, 0, false, true};
  cpu::set_isa(cpu::isa_name(cpu::isa_levels().back()));  // deep enough to be slow at the lower ones
  raw::set_num_threads(kThreads);
  for (const Case* c : {&kAtOnce, &kByColumns}) {
    const int64_t most = cpu::sgemm_columns_packed(c->k, sizeof(float));
    GK_EXPECT(cpu::sgemm_plan({c->m, c->n, c->k, false}, 14, kThreads).pack_first, "n %ld", long(c->n));
    GK_EXPECT((most < c->n) == (c == &kByColumns), "%ld of %ld columns at a time", long(most), long(c->n));
    if (double(c->m * c->n * c->k) <= most_products()) check_case<float>(*c);
  }
}

void test_shares_are_even() {
  for (const auto& [m, n] : {std::pair<int64_t, int64_t>{4096, 4096}, {8192, 2048}, {100000, 64}}) {
    for (int64_t threads = 1; threads <= 64; ++threads) {
      const cpu::SgemmSizes sizes{m, n, 1024, false};
      const cpu::SgemmPlan plan = cpu::sgemm_plan(sizes, 14, threads);
      int64_t largest = 0, covered = 0;
      for (int64_t i = 0; i < plan.rows * plan.columns; ++i) {
        const cpu::SgemmShare s = cpu::sgemm_share(sizes, plan, i);
        const int64_t size = (s.row_end - s.row) * (s.column_end - s.column);
        largest = std::max(largest, size);
        covered += size;
      }
      GK_EXPECT(covered == m * n, "%ld of %ld elements", long(covered), long(m * n));
      const int64_t turns = (plan.rows * plan.columns + threads - 1) / threads;
      GK_EXPECT(double(largest * turns * threads) <= 1.1 * double(m * n),
                "%ld x %ld on %ld threads: %ld x %ld", long(m), long(n), long(threads), long(plan.rows),
                long(plan.columns));
    }
  }
}

void test_blocks_follow_the_cache() {
  const cpu::SgemmBlocks small = cpu::sgemm_blocks(4, 14, {32 << 10, 256 << 10, 4 << 20});
  const cpu::SgemmBlocks large = cpu::sgemm_blocks(4, 14, {48 << 10, 2 << 20, 32 << 20});
  GK_EXPECT(small.block_rows >= 14 && small.block_rows % 14 == 0, "%ld rows", long(small.block_rows));
  GK_EXPECT(large.block_rows > small.block_rows, "%ld rows", long(large.block_rows));
}

}  // namespace

int main() {
  for (const int threads : {1, 3}) {
    raw::set_num_threads(threads);
    for_each_isa([](cpu::Isa) {
      for (const Case& c : kCases) check_case<float>(c);
    });
    for (const Case& c : kCases) check_case<double>(c);
  }
  test_packs_first();
  test_shares_are_even();
  test_blocks_follow_the_cache();
  return result();
}
