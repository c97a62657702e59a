// csr_matmul, its gradient of the values and its transpose against naive loops in double: ragged sizes, every
// layout, every instruction set.
#include "api/csr_matmul.h"

#include <cmath>
#include <limits>

#include "check.h"
#include "cpu/csr_matmul/plan.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Case {
  int64_t m, n, k;
  double density;
};

// Smallest, ragged, around lines of 16 rows of x and strips of 4, more rows than a tile has, several blocks
// of columns, nothing stored, everything stored, no sizes at all.
const Case kCases[] = {
    {1, 1, 1, 1.0},     {1, 17, 33, 0.3},     {2, 70, 300, 0.1},  {3, 5, 2, 0.5},       {16, 16, 64, 1.0},
    {17, 33, 70, 0.0},  {31, 129, 1100, 0.1}, {33, 67, 513, 0.5}, {65, 600, 257, 0.02}, {130, 100, 129, 1.0},
    {150, 31, 40, 0.2}, {0, 4, 8, 0.5},       {3, 2, 0, 1.0},     {3, 0, 5, 1.0},       {40, 1030, 70, 0.1},
};

template <typename T>
struct Data {
  std::vector<int64_t> crow{0}, col;
  std::vector<T> values, x, bias, grad;
};

template <typename T>
Data<T> make_data(const Case& c) {
  Data<T> data;
  std::mt19937 stream(unsigned(c.n + 7 * c.k));
  std::uniform_real_distribution<double> chance;
  for (int64_t row = 0; row < c.n; ++row) {
    for (int64_t column = 0; column < c.k; ++column) {
      if (row % 5 == 1 || chance(stream) >= c.density) continue;  // every fifth row is empty
      data.col.push_back(column);
    }
    data.crow.push_back(int64_t(data.col.size()));
  }
  data.values = random_normal<T>(data.col.size(), 1);
  data.x = random_normal<T>(c.m * c.k, 2);
  data.bias = random_normal<T>(c.n, 3);
  data.grad = random_normal<T>(c.m * c.n, 4);
  return data;
}

template <typename T>
CsrShape shape_of(const Case& c, const Data<T>& data) {
  return {c.n, c.k, int64_t(data.col.size())};
}

// Terms are products of N(0, 1) values. Rounding errors of partial sums, each at most eps / 2 of a sum of the
// size sqrt(terms), add up as their root mean square; 8 covers the worst of many outputs.
template <typename T>
double bound_of(int64_t terms) {
  return 8 * std::numeric_limits<T>::epsilon() * double(terms + 2);
}

template <typename T>
void check_product(const Case& c, const Data<T>& data, int64_t batch, bool with_bias) {
  const CsrShape shape = shape_of(c, data);
  const CsrLayout layout = csr_layout(shape, batch);
  const int64_t bytes = csr_packed_bytes(shape, layout, sizeof(T));
  std::vector<char> storage(bytes + 64 + 64, 77);
  char* packed = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  cpu::csr_matmul_pack(
      CsrPackArgs<T>{{data.crow.data(), data.col.data(), data.values.data(), shape}, layout, packed});
  GK_EXPECT(packed[bytes] == 77, "wrote past the packed weight");
  std::vector<T> out(c.m * c.n + 64, T(77));
  cpu::csr_matmul(CsrMatmulArgs<T>{data.x.data(), packed, with_bias ? data.bias.data() : nullptr, out.data(),
                                   shape, layout, c.m});
  for (size_t i = c.m * c.n; i < out.size(); ++i) GK_EXPECT(out[i] == T(77), "wrote past out");
  for (int64_t i = 0; i < c.m; ++i) {
    for (int64_t j = 0; j < c.n; ++j) {
      double sum = with_bias ? double(data.bias[j]) : 0;
      for (int64_t p = data.crow[j]; p < data.crow[j + 1]; ++p) {
        sum += double(data.values[p]) * data.x[i * c.k + data.col[p]];
      }
      const double error = std::fabs(sum - out[i * c.n + j]);
      GK_EXPECT(error <= bound_of<T>(data.crow[j + 1] - data.crow[j]),
                "m %ld n %ld k %ld batch %ld at %ld, %ld: error %g", long(c.m), long(c.n), long(c.k),
                long(batch), long(i), long(j), error);
    }
  }
}

template <typename T>
void check_values_grad(const Case& c, const Data<T>& data) {
  std::vector<T> out(data.col.size() + 64, T(77));
  cpu::csr_matmul_values_grad(CsrValuesGradArgs<T>{data.crow.data(), data.col.data(), data.grad.data(),
                                                   data.x.data(), out.data(), shape_of(c, data), c.m});
  for (size_t p = data.col.size(); p < out.size(); ++p) GK_EXPECT(out[p] == T(77), "wrote past the values");
  for (int64_t j = 0; j < c.n; ++j) {
    for (int64_t p = data.crow[j]; p < data.crow[j + 1]; ++p) {
      double sum = 0;
      for (int64_t i = 0; i < c.m; ++i) {
        sum += double(data.grad[i * c.n + j]) * data.x[i * c.k + data.col[p]];
      }
      GK_EXPECT(std::fabs(sum - out[p]) <= bound_of<T>(c.m), "m %ld n %ld k %ld value %ld: error %g",
                long(c.m), long(c.n), long(c.k), long(p), std::fabs(sum - out[p]));
    }
  }
}

template <typename T>
void check_all() {
  for (const Case& c : kCases) {
    const Data<T> data = make_data<T>(c);
    for (const int64_t batch : {1, 16, 32, 64}) check_product(c, data, batch, batch != 16);
    check_values_grad(c, data);
  }
}

void check_transpose() {
  for (const Case& c : kCases) {
    const Data<float> data = make_data<float>(c);
    const CsrShape shape = shape_of(c, data);
    std::vector<int64_t> crow(c.k + 1), col(shape.nnz), order(shape.nnz);
    cpu::csr_transpose({data.crow.data(), data.col.data(), shape, crow.data(), col.data(), order.data()});
    GK_EXPECT(crow[c.k] == shape.nnz, "crow_indices end at %ld", long(crow[c.k]));
    for (int64_t r = 0; r < c.k; ++r) {
      for (int64_t p = crow[r]; p < crow[r + 1]; ++p) {
        const int64_t from = order[p], row = col[p];
        GK_EXPECT(data.col[from] == r && data.crow[row] <= from && from < data.crow[row + 1],
                  "value %ld is not where it came from", long(p));
        GK_EXPECT(p == crow[r] || col[p - 1] < row, "columns do not ascend at %ld", long(p));
      }
    }
  }
}

// Every line of x is in one strip, strips differ by at most a line, and none is wider than the kernels are.
void check_plan() {
  for (int64_t m = 1; m < 1500; m += 7) {
    for (const int threads : {1, 2, 3, 64}) {
      const cpu::CsrPlan plan = cpu::csr_plan(m, threads);
      int64_t least = 1000, most = 0;
      for (int64_t i = 0; i < plan.strips; ++i) {
        const int64_t lines = cpu::csr_first_line(plan, i + 1) - cpu::csr_first_line(plan, i);
        least = std::min(least, lines), most = std::max(most, lines);
      }
      GK_EXPECT(cpu::csr_first_line(plan, plan.strips) * 16 >= m && plan.lines * 16 < m + 16, "m %ld",
                long(m));
      GK_EXPECT(least >= 1 && most <= cpu::kCsrMaxLines && most - least <= 1, "m %ld: strips of %ld to %ld",
                long(m), long(least), long(most));
    }
  }
}

// Shares of rows cover all rows in order and have about as many nonzeros each.
void check_shares() {
  std::vector<int64_t> crow{0};
  for (int64_t row = 0; row < 1000; ++row) crow.push_back(crow.back() + row % 17);
  for (const int64_t shares : {1, 2, 7, 64}) {
    int64_t largest = 0;
    GK_EXPECT(cpu::csr_first_row(crow.data(), 1000, 0, shares) == 0, "first of %ld", long(shares));
    for (int64_t i = 0; i < shares; ++i) {
      const int64_t begin = cpu::csr_first_row(crow.data(), 1000, i, shares),
                    end = cpu::csr_first_row(crow.data(), 1000, i + 1, shares);
      GK_EXPECT(begin <= end && end <= 1000, "share %ld of %ld", long(i), long(shares));
      largest = std::max(largest, crow[end] - crow[begin]);
    }
    // A row of 16 more or less at either end: beyond a tenth only where shares are small.
    GK_EXPECT(largest <= 1.1 * double(crow.back()) / double(shares) + 16, "largest of %ld shares: %ld",
              long(shares), long(largest));
  }
}

}  // namespace

int main() {
  for_each_isa([](cpu::Isa) { check_all<float>(); });
  check_all<double>();
  check_transpose();
  check_plan();
  check_shares();
  return result();
}
