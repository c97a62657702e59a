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

  // Threads share out the tiles of all strips, the first strip's first: whole strips or, where these are few,
  // one stretch of tiles each. Each transposes the strips of its tiles for itself. To read what another core
  // has just written takes longer, 1.4x from two threads instead of 1.8x (n = k = 2048, 16 rows), and so does
  // a piece for each tile, which would transpose its strip again: 1.5x instead of 1.8x (64 rows, 90 % zeros;
  // both Intel 6/207).
  void run() const {
    const int64_t items = plan_.strips * panels_.tiles, threads = num_threads();
    const int64_t piece = plan_.own_strips ? panels_.tiles : (items + threads - 1) / threads;
    parallel_for_pieces(items, piece, [&](int64_t begin, int64_t end) { multiply(begin, end); });
  }

 private:
  int64_t first_row(int64_t strip) const { return csr_first_line(plan_, strip) * kCsrLanes; }
  int64_t lines(int64_t strip) const {
    return csr_first_line(plan_, strip + 1) - csr_first_line(plan_, strip);
  }
  int64_t most_lines() const { return (plan_.lines + plan_.strips - 1) / plan_.strips; }
  int64_t strip_size() const { return args_.shape.k * most_lines() * kCsrLanes; }
  int64_t tile_size() const { return args_.layout.row_tile * most_lines() * kCsrLanes; }

  // Items [begin, end): tiles of the weight, strip by strip.
  void multiply(int64_t begin, int64_t end) const {
    const ScratchLease scratch((strip_size() + tile_size()) * sizeof(T));
    T* const x = scratch.as<T>();
    T* const out = x + strip_size();
    for (int64_t item = begin; item < end; ++item) {
      const int64_t strip = item / panels_.tiles, tile = item % panels_.tiles;
      const int64_t row = first_row(strip), wide = lines(strip), col = tile * args_.layout.row_tile;
      if (item == begin || tile == 0) {
        stages_.fill_strip({args_.x, args_.m, args_.shape.k}, row, wide, 0, args_.shape.k, x);
      }
      stages_.tile(panels_, args_.layout, tile, wide, x, out);
      stages_.empty_tile(args_, out, wide, row, col, std::min(args_.layout.row_tile, args_.shape.n - col));
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
