// strassen_gemm on the CPU: the products of the scheme as products of sgemm.
#include <algorithm>
#include <vector>

#include "api/strassen_gemm.h"
#include "cpu/sgemm/stages.h"
#include "cpu/strassen_gemm/apart.h"
#include "cpu/strassen_gemm/scheme.h"

namespace greenkernels::cpu {

static_assert(kSgemmTerms >= 1 << kMaxStrassenLevels);

namespace {

// Rows (or columns) of a block that exist: those past the matrix count as 0.
int64_t extent(int64_t size, int64_t block, int index) {
  return std::clamp<int64_t>(size - index * block, 0, block);
}

// A matrix [rows, depth] in memory, and its cut into blocks.
template <typename T>
struct Blocked {
  const T* data;
  int64_t rows, depth, row_stride, depth_stride;

  SgemmOperand<T> sum(const std::vector<StrassenTerm>& terms, int levels) const {
    const int64_t block_rows = strassen_block(rows, levels), block_depth = strassen_block(depth, levels);
    SgemmOperand<T> operand{{}, 0, row_stride, depth_stride};
    for (const StrassenTerm& t : terms) {
      const int64_t offset = t.row * block_rows * row_stride + t.column * block_depth * depth_stride;
      operand.terms[operand.count++] = {data + offset, T(t.sign), extent(rows, block_rows, t.row),
                                        extent(depth, block_depth, t.column)};
    }
    return operand;
  }
};

template <typename T>
Blocked<T> weight_of(const SgemmPackArgs<T>& w) {
  return {w.b, w.n, w.k, w.row_stride, w.depth_stride};
}

template <typename T>
void pack(const StrassenPackArgs<T>& args) {
  const int64_t n = strassen_block(args.weight.n, args.levels),
                k = strassen_block(args.weight.k, args.levels);
  std::vector<SgemmOperand<T>> sums;
  for (const StrassenProduct& product : strassen_scheme(args.levels))
    sums.push_back(weight_of(args.weight).sum(product.b, args.levels));
  sgemm_pack_operands(sums.data(), int64_t(sums.size()), n, k, args.weight.packed);
}

// The products of one item of the batch.
template <typename T>
struct Item {
  const StrassenGemmArgs<T>& args;
  int64_t index;

  SgemmOutput<T> output(const StrassenTerm& t) const {
    const SgemmArgs<T>& g = args.gemm;
    const int64_t rows = strassen_block(g.m, args.levels), columns = strassen_block(g.n, args.levels);
    const int64_t first_column = t.column * columns;
    const T* slope = g.activation_params > 1 ? g.activation_param + first_column : g.activation_param;
    const int64_t offset = index * g.out_batch + t.row * rows * g.out_row + first_column * g.out_column;
    return {g.out + offset,
            g.skip ? g.skip + offset : nullptr,
            T(t.sign),
            extent(g.m, rows, t.row),
            extent(g.n, columns, t.column),
            false,
            false,
            g.beta != 0,
            g.bias ? g.bias + first_column : nullptr,
            g.activation_params ? slope : nullptr};
  }

  SgemmProduct<T> product(const StrassenProduct& scheme, int64_t position) const {
    const SgemmArgs<T>& g = args.gemm;
    SgemmProduct<T> p{};
    p.m = strassen_block(g.m, args.levels);
    p.n = strassen_block(g.n, args.levels);
    p.k = strassen_block(g.k, args.levels);
    p.a = Blocked<T>{g.a + index * g.a_batch, g.m, g.k, g.a_row, g.a_depth}.sum(scheme.a, args.levels);
    if (g.packed) {
      p.packed = g.packed + position * sgemm_padded_columns(p.n) * p.k;
    } else {
      p.b = Blocked<T>{g.b + index * g.b_batch, g.n, g.k, g.b_row, g.b_depth}.sum(scheme.b, args.levels);
    }
    for (const StrassenTerm& t : scheme.out) p.out[p.outs++] = output(t);
    p.out_stride = g.out_row;
    p.out_column = g.out_column;
    p.skip_scale = g.skip_scale;
    p.activation = g.activation;
    p.slope_step = g.activation_params > 1 ? 1 : 0;
    return p;
  }

  std::vector<SgemmProduct<T>> products() const {
    const std::vector<StrassenProduct> scheme = strassen_scheme(args.levels);
    const int blocks = 1 << args.levels;
    std::vector<SgemmProduct<T>> products;
    std::vector<int64_t> first(blocks * blocks, -1), last(blocks * blocks, -1);  // product, by block of out
    for (int64_t i = 0; i < int64_t(scheme.size()); ++i) {
      products.push_back(product(scheme[i], i));
      for (const StrassenTerm& t : scheme[i].out) {
        int64_t& seen = first[t.row * blocks + t.column];
        if (seen < 0) seen = i;
        last[t.row * blocks + t.column] = i;
      }
    }
    for (int64_t i = 0; i < int64_t(scheme.size()); ++i) {
      for (int o = 0; o < products[i].outs; ++o) {
        const StrassenTerm& t = scheme[i].out[o];
        products[i].out[o].first = first[t.row * blocks + t.column] == i;
        products[i].out[o].last = last[t.row * blocks + t.column] == i;
      }
    }
    return products;
  }
};

}  // namespace

template <typename T>
void strassen_run(const StrassenGemmArgs<T>& args, int64_t apart_bytes) {
  const SgemmArgs<T>& g = args.gemm;
  if (args.levels == 0 || g.k == 0) return sgemm(g);
  if (g.batch == 0 || g.m == 0 || g.n == 0) return;
  if (g.beta != 0) sgemm_scale(g);
  const int64_t m = strassen_block(g.m, 1), n = strassen_block(g.n, 1), k = strassen_block(g.k, 1);
  const bool plain = !g.packed && !g.skip && g.activation == Activation::kNone && g.out_column == 1;
  const bool apart = args.levels > 1 && plain && (m * k + n * k + m * n) * int64_t(sizeof(T)) >= apart_bytes;
  const StrassenGemmArgs<T> level{g, apart ? 1 : args.levels};
  for (int64_t item = 0; item < g.batch; ++item) {
    const std::vector<SgemmProduct<T>> products = Item<T>{level, item}.products();
    if (apart) {
      strassen_multiply_apart(products.data(), int64_t(products.size()), args.levels - 1, apart_bytes);
    } else {
      sgemm_multiply(products.data(), int64_t(products.size()));
    }
  }
}

template void strassen_run(const StrassenGemmArgs<float>&, int64_t);
template void strassen_run(const StrassenGemmArgs<double>&, int64_t);

void strassen_gemm_pack(const StrassenPackArgs<float>& args) { pack(args); }
void strassen_gemm_pack(const StrassenPackArgs<double>& args) { pack(args); }
void strassen_gemm(const StrassenGemmArgs<float>& args) { strassen_run(args, kStrassenApartBytes); }
void strassen_gemm(const StrassenGemmArgs<double>& args) { strassen_run(args, kStrassenApartBytes); }

}  // namespace greenkernels::cpu
