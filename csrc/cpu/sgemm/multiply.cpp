// One product on all threads: the plan, the packing of b, the shares.
#include <algorithm>
#include <vector>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/sgemm/plan.h"
#include "cpu/sgemm/stages.h"

namespace greenkernels::cpu {

namespace {

template <typename T>
void multiply_shares(const SgemmProduct<T>* products, int64_t count, const SgemmPlan& plan) {
  const SgemmProduct<T>& p = products[0];
  const SgemmStages<T> stages = sgemm_stages_in_use<T>();
  const SgemmSizes sizes{p.m, p.n, p.k, p.packed != nullptr};
  const SgemmBlocks blocks = sgemm_blocks(sizeof(T), stages.max_rows, cache_sizes());
  const SgemmScratch scratch_sizes = sgemm_scratch(sizes, plan, blocks);
  parallel_for_pieces(plan.rows * plan.columns, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease scratch(scratch_sizes.size() * sizeof(T));
    for (int64_t i = begin; i < end; ++i)
      for (int64_t product = 0; product < count; ++product)
        stages.multiply(products[product], sgemm_share(sizes, plan, i), blocks, scratch_sizes,
                        scratch.as<T>());
  });
}

// The part of a product that goes to columns [column, column + count).
template <typename T>
SgemmProduct<T> columns_of(const SgemmProduct<T>& p, int64_t column, int64_t count) {
  SgemmProduct<T> part = p;
  part.n = count;
  for (int t = 0; t < p.b.count; ++t) {
    if (part.b.terms[t].data) part.b.terms[t].data += column * p.b.row_stride;  // nullptr beside half
    part.b.terms[t].rows -= column;
  }
  if (part.b.half) part.b.half += column * p.k;
  for (int o = 0; o < p.outs; ++o) {
    SgemmOutput<T>& out = part.out[o];
    out.data += column * p.out_column;
    if (out.skip) out.skip += column * p.out_column;
    out.columns -= column;
    if (out.bias) out.bias += column;
    if (out.slope) out.slope += column * p.slope_step;
  }
  return part;
}

// Products one after the other, each with its b packed first, a stretch of columns at a time.
template <typename T>
void multiply_by_columns(const SgemmProduct<T>& p, int64_t max_rows) {
  const int64_t most = sgemm_columns_packed(p.k, sizeof(T));
  const ScratchLease packed(sgemm_padded_columns(std::min(most, p.n)) * p.k * int64_t(sizeof(T)));
  for (int64_t column = 0; column < p.n; column += most) {
    SgemmProduct<T> part = columns_of(p, column, std::min(most, p.n - column));
    sgemm_pack_operands(&part.b, 1, part.n, part.k, packed.as<T>());
    part.packed = packed.as<T>();
    multiply_shares(&part, 1, sgemm_plan({part.m, part.n, part.k, true}, max_rows, num_threads()));
  }
}

// Products whose b fit together, each packed first.
template <typename T>
void multiply_group(const SgemmProduct<T>* products, int64_t count, int64_t max_rows) {
  const int64_t n = products[0].n, k = products[0].k, size = sgemm_padded_columns(n) * k;
  std::vector<SgemmProduct<T>> group(products, products + count);
  std::vector<SgemmOperand<T>> operands;
  const ScratchLease packed(count * size * int64_t(sizeof(T)));
  for (int64_t i = 0; i < count; ++i) {
    operands.push_back(group[i].b);
    group[i].packed = packed.as<T>() + i * size;
  }
  sgemm_pack_operands(operands.data(), count, n, k, packed.as<T>());
  multiply_shares(group.data(), count, sgemm_plan({group[0].m, n, k, true}, max_rows, num_threads()));
}

}  // namespace

template <typename T>
void sgemm_multiply(const SgemmProduct<T>* products, int64_t count) {
  const SgemmProduct<T>& p = products[0];
  const int64_t max_rows = sgemm_stages_in_use<T>().max_rows;
  const SgemmPlan plan = sgemm_plan({p.m, p.n, p.k, p.packed != nullptr}, max_rows, num_threads());
  if (!plan.pack_first) return multiply_shares(products, count, plan);
  const int64_t fit = sgemm_columns_packed(p.k, sizeof(T)) / sgemm_padded_columns(p.n);
  if (fit == 0) {
    for (int64_t i = 0; i < count; ++i) multiply_by_columns(products[i], max_rows);
    return;
  }
  for (int64_t i = 0; i < count; i += fit) multiply_group(products + i, std::min(fit, count - i), max_rows);
}

template <typename T>
void sgemm_scale(const SgemmArgs<T>& args) {
  parallel_for(args.batch * args.m, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* out = args.out + i / args.m * args.out_batch + i % args.m * args.out_row;
      for (int64_t j = 0; j < args.n; ++j) {
        T& value = out[j * args.out_column];
        value = args.beta * value + (args.bias ? args.bias[j] : T(0));
      }
    }
  });
}

template void sgemm_multiply(const SgemmProduct<float>*, int64_t);
template void sgemm_multiply(const SgemmProduct<double>*, int64_t);
template void sgemm_scale(const SgemmArgs<float>&);
template void sgemm_scale(const SgemmArgs<double>&);

}  // namespace greenkernels::cpu
