// A level of Strassen's algorithm on sums in memory. Fused levels read every block of the operands and go
// over every block of the output three times for each further level, which is cheap while these come from L3.
// Here a sum of large blocks is made once, the product lies in one matrix, and that is added to the output
// once.
#include "cpu/strassen_gemm/apart.h"

#include <algorithm>

#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace greenkernels::cpu {

namespace {

// Of lines in memory: whole cache lines, and not a power of two, which would put all of them into few sets of
// L1.
constexpr int64_t kLineElements = 32;
int64_t padded_stride(int64_t length) {
  return (length / kLineElements + 1) * kLineElements + kLineElements / 2;
}

// One of the two operands of a product: a sum in memory, or the block itself where it is all of it.
template <typename T>
struct Summed {
  const T* data;
  int64_t row_stride, depth_stride;
};

// The sum of the terms of x [rows, depth] in `to`, lines along the direction with stride 1.
template <typename T>
Summed<T> sum_terms(const SgemmOperand<T>& x, int64_t rows, int64_t depth, T* to) {
  const SgemmTerm<T>& only = x.terms[0];
  if (x.count == 1 && only.sign == 1 && only.rows == rows && only.depth == depth)
    return {only.data, x.row_stride, x.depth_stride};
  const bool along_depth = x.depth_stride == 1;
  const int64_t lines = along_depth ? rows : depth, length = along_depth ? depth : rows;
  const int64_t from_stride = along_depth ? x.row_stride : x.depth_stride, stride = padded_stride(length);
  parallel_for(lines, 8, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      T* sum = to + line * stride;
      std::fill(sum, sum + length, T(0));
      for (int t = 0; t < x.count; ++t) {
        const SgemmTerm<T>& term = x.terms[t];
        if (line >= (along_depth ? term.rows : term.depth)) continue;
        const T* from = term.data + line * from_stride;
        const int64_t exist = along_depth ? term.depth : term.rows;
        for (int64_t i = 0; i < exist; ++i) sum[i] += term.sign * from[i];
      }
    }
  });
  return {to, along_depth ? stride : 1, along_depth ? 1 : stride};
}

// Adds the product [m, n] to the parts of the output that it goes to.
template <typename T>
void add_product(const SgemmProduct<T>& p, const T* product, int64_t stride) {
  parallel_for(p.m, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = product + i * stride;
      for (int o = 0; o < p.outs; ++o) {
        const SgemmOutput<T>& part = p.out[o];
        if (i >= part.rows) continue;
        T* out = part.data + i * p.out_stride;
        if (part.first && !part.keep) {
          for (int64_t j = 0; j < part.columns; ++j)
            out[j] = (part.bias ? part.bias[j] : T(0)) + part.sign * from[j];
        } else {
          for (int64_t j = 0; j < part.columns; ++j) out[j] += part.sign * from[j];
        }
      }
    }
  });
}

}  // namespace

template <typename T>
void strassen_multiply_apart(const SgemmProduct<T>* products, int64_t count, int levels,
                             int64_t apart_bytes) {
  const int64_t m = products[0].m, n = products[0].n, k = products[0].k;
  const auto bytes = [](int64_t rows, int64_t depth) {
    return std::max(rows * padded_stride(depth), depth * padded_stride(rows)) * int64_t(sizeof(T));
  };
  const ScratchLease a(bytes(m, k)), b(bytes(n, k)), out(bytes(m, n));
  for (int64_t i = 0; i < count; ++i) {
    const SgemmProduct<T>& p = products[i];
    const Summed<T> left = sum_terms(p.a, m, k, a.as<T>()), right = sum_terms(p.b, n, k, b.as<T>());
    StrassenGemmArgs<T> inner{};
    SgemmArgs<T>& g = inner.gemm;
    g.a = left.data, g.a_row = left.row_stride, g.a_depth = left.depth_stride;
    g.b = right.data, g.b_row = right.row_stride, g.b_depth = right.depth_stride;
    g.out = out.as<T>(), g.out_row = padded_stride(n);
    g.batch = 1, g.m = m, g.n = n, g.k = k;
    inner.levels = levels;
    strassen_run(inner, apart_bytes);
    add_product(p, out.as<T>(), g.out_row);
  }
}

template void strassen_multiply_apart(const SgemmProduct<float>*, int64_t, int, int64_t);
template void strassen_multiply_apart(const SgemmProduct<double>*, int64_t, int, int64_t);

}  // namespace greenkernels::cpu
