// csr_matmul on the CPU: cuts a product into strips of x and tiles of the weight, shares them out over
// threads and runs the stages of forward.inl on them.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "api/csr_matmul.h"
#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/csr_matmul/formats/rows.h"
#include "cpu/csr_matmul/plan.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

template <typename T>
struct CsrMatrix {
  const T* data;  // [rows, cols] row-major, rows >= 1
  int64_t rows, cols;
};

struct CsrRowRange {
  int64_t begin, end;  // rows of the weight
};

// The stages of one instruction set.
template <typename T>
struct CsrStages {
  void (*fill_strip)(const CsrMatrix<T>& matrix, int64_t first, int64_t lines, int64_t begin, int64_t end,
                     T* strip);
  void (*tile)(const CsrPanels<T>& panels, const CsrLayout& layout, int64_t tile, int64_t lines,
               const T* strip, T* out);
  void (*empty_tile)(const CsrMatmulArgs<T>& args, const T* tile, int64_t lines, int64_t first_row,
                     int64_t first_col, int64_t cols);
  void (*gather_rows)(const CsrMatmulArgs<T>& args, const CsrRows<T>& rows, CsrRowRange range);
  void (*dot_rows)(const CsrValuesGradArgs<T>& args, int64_t lines, const T* grad, const T* x,
                   CsrRowRange range);
};

}  // namespace greenkernels::cpu

#define GK_KERNEL "cpu/csr_matmul/forward.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::csr_stages<T>()

namespace greenkernels::cpu {

namespace {

constexpr int64_t kShares = 4;        // of a thread: uneven rows even out
constexpr int64_t kFillGrain = 256;   // columns of a strip that are worth a thread
constexpr int64_t kGatherGrain = 64;  // rows of the weight that are

template <typename T>
CsrStages<T> select_stages() {
  if constexpr (std::is_same_v<T, double>) {
    return scalar::csr_stages<double>();
  } else {
    return GK_SELECT_ISA(csr_stages<float>)();
  }
}

template <typename T>
class PanelsProduct {
 public:
  explicit PanelsProduct(const CsrMatmulArgs<T>& args)
      : args_(args),
        // const_cast: the same struct describes what is packed and what is read.
        panels_(args.shape, args.layout, const_cast<void*>(args.packed)),
        plan_(csr_plan(args.m, num_threads())),
        stages_(select_stages<T>()) {}

  // Threads share out the strips or, where these are few, the tiles: then each transposes every strip for
  // itself. To read what another core has just written takes longer: 1.4x from two threads instead of 1.8x
  // (n = k = 2048, 16 rows, Intel 6/207).
  void run() const {
    if (plan_.own_strips) {
      parallel_for(plan_.strips, 1,
                   [&](int64_t begin, int64_t end) { multiply(begin, end, 0, panels_.tiles); });
    } else {
      parallel_for(panels_.tiles, 1,
                   [&](int64_t begin, int64_t end) { multiply(0, plan_.strips, begin, end); });
    }
  }

 private:
  int64_t first_row(int64_t strip) const { return csr_first_line(plan_, strip) * kCsrLanes; }
  int64_t lines(int64_t strip) const {
    return csr_first_line(plan_, strip + 1) - csr_first_line(plan_, strip);
  }
  int64_t most_lines() const { return (plan_.lines + plan_.strips - 1) / plan_.strips; }
  int64_t strip_size() const { return args_.shape.k * most_lines() * kCsrLanes; }
  int64_t tile_size() const { return args_.layout.row_tile * most_lines() * kCsrLanes; }

  // Transposes strips [first, last) one by one and multiplies each with tiles [begin, end) of the weight.
  void multiply(int64_t first, int64_t last, int64_t begin, int64_t end) const {
    const ScratchLease scratch((strip_size() + tile_size()) * sizeof(T));
    T* const x = scratch.as<T>();
    T* const out = x + strip_size();
    for (int64_t strip = first; strip < last; ++strip) {
      const int64_t row = first_row(strip), wide = lines(strip);
      stages_.fill_strip({args_.x, args_.m, args_.shape.k}, row, wide, 0, args_.shape.k, x);
      for (int64_t tile = begin; tile < end; ++tile) {
        const int64_t col = tile * args_.layout.row_tile;
        stages_.tile(panels_, args_.layout, tile, wide, x, out);
        stages_.empty_tile(args_, out, wide, row, col, std::min(args_.layout.row_tile, args_.shape.n - col));
      }
    }
  }

  const CsrMatmulArgs<T>& args_;
  CsrPanels<T> panels_;
  CsrPlan plan_;
  CsrStages<T> stages_;
};

template <typename T>
void gather(const CsrMatmulArgs<T>& args) {
  const CsrRows<T> rows(args.shape, const_cast<void*>(args.packed));
  const CsrStages<T> stages = select_stages<T>();
  const int64_t n = args.shape.n, shares = std::min<int64_t>(kShares * num_threads(), n / kGatherGrain + 1);
  parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
    stages.gather_rows(args, rows,
                       {csr_first_row(rows.crow_indices, n, begin, shares),
                        csr_first_row(rows.crow_indices, n, end, shares)});
  });
}

template <typename T>
void multiply(const CsrMatmulArgs<T>& args) {
  if (args.m == 0 || args.shape.n == 0) return;
  args.layout.format == CsrFormat::kRows ? gather(args) : PanelsProduct<T>(args).run();
}

// Strips of grad and x of the same rows; each thread adds their dot products to the values of its rows.
template <typename T>
void values_grad(const CsrValuesGradArgs<T>& args) {
  const CsrShape& shape = args.shape;
  std::fill_n(args.grad_values, shape.nnz, T(0));
  if (args.m == 0 || shape.nnz == 0) return;
  const CsrStages<T> stages = select_stages<T>();
  const CsrPlan plan = csr_plan(args.m, num_threads());
  const int64_t wide = (plan.lines + plan.strips - 1) / plan.strips * kCsrLanes;
  const ScratchLease scratch((shape.n + shape.k) * wide * sizeof(T));
  T* const grad = scratch.as<T>();
  T* const x = grad + shape.n * wide;
  const int64_t shares = std::min<int64_t>(kShares * num_threads(), shape.n);
  for (int64_t strip = 0; strip < plan.strips; ++strip) {
    const int64_t first = csr_first_line(plan, strip), lines = csr_first_line(plan, strip + 1) - first;
    const auto fill = [&](const T* data, int64_t cols, T* to) {
      const CsrMatrix<T> matrix{data, args.m, cols};
      parallel_for(cols, kFillGrain, [&](int64_t begin, int64_t end) {
        stages.fill_strip(matrix, first * kCsrLanes, lines, begin, end, to);
      });
    };
    fill(args.grad, shape.n, grad);
    fill(args.x, shape.k, x);
    parallel_for(shares, 1, [&](int64_t begin, int64_t end) {
      stages.dot_rows(args, lines, grad, x,
                      {csr_first_row(args.crow_indices, shape.n, begin, shares),
                       csr_first_row(args.crow_indices, shape.n, end, shares)});
    });
  }
}

}  // namespace

void csr_matmul(const CsrMatmulArgs<float>& args) { multiply(args); }
void csr_matmul(const CsrMatmulArgs<double>& args) { multiply(args); }
void csr_matmul_values_grad(const CsrValuesGradArgs<float>& args) { values_grad(args); }
void csr_matmul_values_grad(const CsrValuesGradArgs<double>& args) { values_grad(args); }

}  // namespace greenkernels::cpu
