// sgemm on the CPU: packing, and the products of a batch.
#include "api/sgemm.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/sgemm/stages.h"

#define GK_KERNEL "cpu/sgemm/share.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::sgemm_stages<T>()

namespace greenkernels::cpu {

template <>
SgemmStages<double> sgemm_stages_in_use() {
  return scalar::sgemm_stages<double>();
}

template <>
SgemmStages<float> sgemm_stages_in_use() {
  return GK_SELECT_ISA(sgemm_stages<float>)();
}

template <typename T>
void sgemm_pack_operands(const SgemmOperand<T>* b, int64_t count, int64_t n, int64_t k, T* packed) {
  const auto pack_panel = sgemm_stages_in_use<T>().pack_panel;
  const int64_t padded = sgemm_padded_columns(n), panels = (padded + kSgemmPanel - 1) / kSgemmPanel;
  const int64_t slices = (k + kSgemmSlice - 1) / kSgemmSlice, each = slices * panels;
  parallel_for(count * each, 8, [&](int64_t begin, int64_t end) {  // 8: 256 KiB, some 20 us
    for (int64_t i = begin; i < end; ++i) {
      const int64_t d = i % each / panels * kSgemmSlice, column = i % panels * kSgemmPanel;
      const int64_t depth = std::min(k - d, kSgemmSlice), width = std::min(padded - column, kSgemmPanel);
      pack_panel(b[i / each], column, width, d, depth, packed + (i / each * k + d) * padded + column * depth);
    }
  });
}

template void sgemm_pack_operands(const SgemmOperand<float>*, int64_t, int64_t, int64_t, float*);
template void sgemm_pack_operands(const SgemmOperand<double>*, int64_t, int64_t, int64_t, double*);

namespace {

constexpr double kMinTaskFlops = 1 << 20;  // about 10 us of one core: less is not worth waking a thread
constexpr double kMinItemFlops = 4 << 20;  // of an item of the batch that is worth cutting
constexpr int64_t kItemsAThread = 4;       // so many need no cutting

template <typename T>
SgemmOperand<T> operand(const T* data, int64_t rows, int64_t depth, int64_t row_stride,
                        int64_t depth_stride) {
  return {{{data, T(1), rows, depth}}, 1, row_stride, depth_stride};
}

template <typename T>
void pack(const SgemmPackArgs<T>& args) {
  const SgemmOperand<T> b = operand(args.b, args.n, args.k, args.row_stride, args.depth_stride);
  sgemm_pack_operands(&b, 1, args.n, args.k, args.packed);
}

template <typename T>
SgemmProduct<T> product(const SgemmArgs<T>& args, int64_t item) {
  SgemmProduct<T> p{};
  p.a = operand(args.a + item * args.a_batch, args.m, args.k, args.a_row, args.a_depth);
  p.b = operand(args.b + item * args.b_batch, args.n, args.k, args.b_row, args.b_depth);
  p.packed = args.packed;
  p.outs = 1;
  p.out[0] = {args.out + item * args.out_batch,
              args.skip ? args.skip + item * args.out_batch : nullptr,
              T(1),
              args.m,
              args.n,
              true,
              true,
              args.beta != 0,
              args.bias,
              args.activation_params ? args.activation_param : nullptr};
  p.out_stride = args.out_row;
  p.out_column = args.out_column;
  p.skip_scale = args.skip_scale;
  p.activation = args.activation;
  p.slope_step = args.activation_params > 1 ? 1 : 0;
  p.m = args.m;
  p.n = args.n;
  p.k = args.k;
  return p;
}

template <typename T>
void multiply_item(const SgemmArgs<T>& args, int64_t item) {
  const SgemmProduct<T> p = product(args, item);
  sgemm_multiply(&p, 1);
}

template <typename T>
void run(const SgemmArgs<T>& args) {
  if (args.batch == 0 || args.m == 0 || args.n == 0) return;
  if (args.beta != 0) sgemm_scale(args);
  const double flops =
      2.0 * double(args.m) * double(args.n) * double(std::max<int64_t>(1, args.k));  // of an item
  const bool many_items = args.batch >= kItemsAThread * num_threads();
  if (many_items || flops < kMinItemFlops) {
    const int64_t grain = std::max<int64_t>(1, int64_t(kMinTaskFlops / flops));
    parallel_for(args.batch, grain, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) multiply_item(args, item);
    });
  } else {
    for (int64_t item = 0; item < args.batch; ++item) multiply_item(args, item);
  }
}

}  // namespace

void sgemm_pack(const SgemmPackArgs<float>& args) { pack(args); }
void sgemm_pack(const SgemmPackArgs<double>& args) { pack(args); }
void sgemm(const SgemmArgs<float>& args) { run(args); }
void sgemm(const SgemmArgs<double>& args) { run(args); }

}  // namespace greenkernels::cpu
