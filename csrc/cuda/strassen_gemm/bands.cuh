// strassen_gemm as launches: b is packed, then for one band of rows after the other a is, all products are
// multiplied into scratch memory, and out is made of them.
#pragma once

#include "cuda/strassen_gemm/combine.cuh"
#include "cuda/strassen_gemm/pack.cuh"
#include "cuda/strassen_gemm/plain.cuh"
#include "cuda/strassen_gemm/product.cuh"

namespace greenkernels::cuda {

// Of the sums of a band's a and of its products, for each multiprocessor: 264 MB on an H100, for two reasons.
// Bands keep scratch memory small, and have tiles for all multiprocessors several times over.
inline constexpr int64_t kStrassenBandBytes = 2 << 20;
inline constexpr int64_t kStrassenSector = 8;  // floats; rows of products begin with a whole one

// The memory of a call, in elements.
template <typename T>
struct StrassenPlan {
  int levels;
  int64_t band;            // rows of out in each but the last
  int64_t n, k;            // of a block
  int64_t pitch;           // of products
  int64_t a, b, products;  // sizes in scratch memory; b: 0 where it is packed

  static StrassenPlan of(const StrassenGemmArgs<T>& args, int multiprocessors) {
    const SgemmArgs<T>& g = args.gemm;
    StrassenPlan plan{};
    plan.levels = args.levels;
    plan.n = strassen_block(g.n, args.levels), plan.k = strassen_block(g.k, args.levels);
    plan.pitch = blocks_for(plan.n, kStrassenSector) * kStrassenSector;
    constexpr int64_t kSide = kSgemmTile<16>;
    const int64_t products = strassen_products(args.levels), rows = strassen_block(g.m, args.levels);
    const int64_t row_bytes = products * (plan.k + plan.pitch) * int64_t(sizeof(T));
    const int64_t fit = multiprocessors * kStrassenBandBytes / row_bytes / kSide * kSide;
    const int64_t bands = blocks_for(rows, fit < kSide ? kSide : fit);
    const int64_t band_rows = bands == 1 ? rows : blocks_for(blocks_for(rows, bands), kSide) * kSide;
    plan.band = bands == 1 ? g.m : band_rows << args.levels;
    plan.a = products * sgemm_padded_columns(band_rows) * plan.k;
    plan.b = g.packed ? 0 : strassen_packed_size(g.n, g.k, args.levels);
    plan.products = products * band_rows * plan.pitch;
    return plan;
  }
};

// Whether a product is that of sgemm: without levels, unless the weight is packed, or without depth.
template <typename T>
bool strassen_is_sgemm(const StrassenGemmArgs<T>& args) {
  return args.gemm.k == 0 || (args.levels == 0 && args.gemm.packed == nullptr);
}

// What sgemm is called with then.
template <typename T>
SgemmArgs<T> strassen_as_sgemm(const StrassenGemmArgs<T>& args) {
  SgemmArgs<T> gemm = args.gemm;
  if (gemm.packed)
    gemm.packed = nullptr, gemm.b = gemm.a, gemm.b_row = gemm.a_row, gemm.b_depth = gemm.a_depth;
  return gemm;
}

template <StrassenMatrix kMatrix>
cudaError_t launch_strassen_pack(const SgemmPackArgs<float>& x, int levels, cudaStream_t stream) {
  if (levels == 1) return launch_strassen_pack<kMatrix, 1>(x, stream);
  if (levels == 2) return launch_strassen_pack<kMatrix, 2>(x, stream);
  return launch_strassen_plain_pack<kMatrix>(x, levels, stream);
}
template <StrassenMatrix kMatrix>
cudaError_t launch_strassen_pack(const SgemmPackArgs<double>& x, int levels, cudaStream_t stream) {
  return launch_strassen_plain_pack<kMatrix>(x, levels, stream);
}

inline cudaError_t launch_strassen_combine(const SgemmArgs<float>& args, const StrassenSums<float>& sums,
                                           cudaStream_t stream) {
  if (sums.levels == 1) return launch_strassen_combine<1>(args, sums, stream);
  if (sums.levels == 2) return launch_strassen_combine<2>(args, sums, stream);
  return launch_strassen_plain_combine(args, sums, stream);
}
inline cudaError_t launch_strassen_combine(const SgemmArgs<double>& args, const StrassenSums<double>& sums,
                                           cudaStream_t stream) {
  return launch_strassen_plain_combine(args, sums, stream);
}

// One band. `band`: its a, out and m, all else of the call. b: packed; scratch: [plan.a + plan.products].
template <typename T>
cudaError_t launch_strassen_band(const SgemmArgs<T>& band, const StrassenPlan<T>& plan, const T* b,
                                 T* scratch, int multiprocessors, cudaStream_t stream) {
  const int64_t rows = strassen_block(band.m, plan.levels);
  const SgemmPackArgs<T> a{band.a, scratch, band.a_row, band.a_depth, band.m, band.k};
  cudaError_t status = launch_strassen_pack<StrassenMatrix::kA>(a, plan.levels, stream);
  if (status != cudaSuccess) return status;
  SgemmArgs<T> products{};
  products.a = scratch, products.a_batch = sgemm_padded_columns(rows) * plan.k;
  products.b = b, products.b_batch = sgemm_padded_columns(plan.n) * plan.k;
  products.out = scratch + plan.a, products.out_batch = rows * plan.pitch, products.out_row = plan.pitch;
  products.batch = strassen_products(plan.levels);
  products.m = rows, products.n = blocks_for(plan.n, 4) * 4, products.k = plan.k;
  products.activation = Activation::kNone;
  status = launch_strassen_products(products, multiprocessors, stream);
  if (status != cudaSuccess) return status;
  return launch_strassen_combine(band, {products.out, rows, plan.n, plan.pitch, plan.levels}, stream);
}

// Elements of scratch memory that launch_strassen wants.
template <typename T>
int64_t strassen_scratch_of(const StrassenGemmArgs<T>& args) {
  int multiprocessors;
  if (count_multiprocessors(&multiprocessors) != cudaSuccess) return 0;  // launch_strassen then says so
  const auto plan = StrassenPlan<T>::of(args, multiprocessors);
  return plan.a + plan.b + plan.products;
}

template <typename T>
cudaError_t launch_strassen(const StrassenGemmArgs<T>& args, T* scratch, cudaStream_t stream) {
  const SgemmArgs<T>& g = args.gemm;
  if (g.batch != 1 || g.skip || g.out_column != 1 || g.k > INT32_MAX) return cudaErrorInvalidValue;
  int multiprocessors;
  cudaError_t status = count_multiprocessors(&multiprocessors);
  if (status != cudaSuccess || g.m == 0 || g.n == 0) return status;
  const auto plan = StrassenPlan<T>::of(args, multiprocessors);
  const T* b = g.packed;
  if (!b) {
    T* to = scratch + plan.a + plan.products;
    status = launch_strassen_pack<StrassenMatrix::kB>({g.b, to, g.b_row, g.b_depth, g.n, g.k}, plan.levels,
                                                      stream);
    b = to;
  }
  for (int64_t row = 0; row < g.m && status == cudaSuccess; row += plan.band) {
    SgemmArgs<T> band = g;
    band.a += row * g.a_row, band.out += row * g.out_row;
    band.m = g.m - row < plan.band ? g.m - row : plan.band;
    status = launch_strassen_band(band, plan, b, scratch, multiprocessors, stream);
  }
  return status;
}

}  // namespace greenkernels::cuda
