// What one call of a kernel fetches from memory: the program that bench/traffic.py runs under a simulator of
// caches.
//
//   traffic FLUSHES CALLS FLUSH_BYTES KERNEL SIZE...
//
// empties the caches FLUSHES times by walking over FLUSH_BYTES of other memory, and calls the kernel after
// each of the first CALLS of them. Two runs that differ by one call differ by what that call fetches with
// nothing in the caches.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "api/csr_conv2d.h"
#include "api/csr_matmul.h"
#include "api/direct_conv2d.h"
#include "api/int8_gemm.h"
#include "api/sgemm.h"
#include "api/strassen_gemm.h"
#include "api/winograd_conv2d.h"
#include "cpu/isa.h"
#include "raw/parallel.h"

namespace {

using namespace greenkernels;

using Sizes = std::vector<int64_t>;
using Call = std::function<void()>;

// Memory that lives as long as the program, 64-byte aligned, not 0: pages that nobody wrote are all one page.
template <typename T>
T* memory(int64_t count, T value = T(1)) {
  const size_t bytes = (size_t(count) * sizeof(T) + 127) / 64 * 64;
  T* data = static_cast<T*>(std::aligned_alloc(64, bytes));
  for (int64_t i = 0; i < count; ++i) data[i] = value;
  return data;
}

// in_c, out_c, size, tile: 3x3, padding 1, one image.
Call winograd(const Sizes& s) {
  WinogradConv2dArgs<float> args{};
  args.batch = 1, args.in_c = s[0], args.out_c = s[1], args.h = args.w = s[2], args.tile = int(s[3]);
  args.pad_h = args.pad_w = 1;
  args.input = memory<float>(s[0] * s[2] * s[2]);
  args.packed = memory<float>(winograd_packed_size(s[1], s[0], args.tile));
  args.out = memory<float>(s[1] * s[2] * s[2]);
  return [args] { cpu::winograd_conv2d(args); };
}

// in_c, out_c, size, kernel, stride: padding kernel / 2, one image.
Call direct(const Sizes& s) {
  DirectConv2dArgs<float> args{};
  args.filter = {s[1], s[0], s[3], s[3], 1};
  args.batch = 1, args.h = args.w = s[2];
  args.pad_h = args.pad_w = s[3] / 2, args.stride_h = args.stride_w = s[4];
  args.dilation_h = args.dilation_w = 1;
  args.input = memory<float>(s[0] * s[2] * s[2]);
  args.packed = memory<float>(args.filter.packed_size());
  args.out = memory<float>(s[1] * args.out_h() * args.out_w());
  return [args] { cpu::direct_conv2d(args); };
}

SgemmArgs<float> product(const Sizes& s, int64_t packed_size) {  // m, n, k, with a packed weight
  SgemmArgs<float> args{};
  args.batch = 1, args.m = s[0], args.n = s[1], args.k = s[2];
  args.a_row = s[2], args.a_depth = 1, args.out_row = s[1];
  args.a = memory<float>(s[0] * s[2]);
  args.packed = memory<float>(packed_size);
  args.out = memory<float>(s[0] * s[1]);
  return args;
}

Call gemm(const Sizes& s) {
  const SgemmArgs<float> args = product(s, sgemm_padded_columns(s[1]) * s[2]);
  return [args] { cpu::sgemm(args); };
}

// m, n, k, levels
Call strassen(const Sizes& s) {
  const int levels = int(s[3]);
  const StrassenGemmArgs<float> args{product(s, strassen_packed_size(s[1], s[2], levels)), levels};
  return [args] { cpu::strassen_gemm(args); };
}

// m, n, k
Call int8(const Sizes& s) {
  Int8GemmArgs args{};
  args.m = s[0], args.shape = {s[1], s[2]};
  args.a = memory<float>(s[0] * s[2]);
  args.packed = memory<int8_t>(args.shape.packed_bytes());
  args.epilogue.col_scale = memory<float>(s[1]);
  args.out = memory<float>(s[0] * s[1]);
  args.input = Int8Input::kFloat, args.output = Int8Output::kFloat;
  return [args] { cpu::int8_gemm(args); };
}

// A weight [n, k] packed for `batch`; every `step`-th element of a row is there, shifted from row to row.
const void* sparse(CsrShape* shape, const CsrLayout& layout, int64_t step) {
  int64_t* crow = memory<int64_t>(shape->n + 1, 0);
  int64_t* col = memory<int64_t>(shape->n * (shape->k / step + 1));
  for (int64_t row = 0; row < shape->n; ++row) {
    crow[row + 1] = crow[row];
    for (int64_t j = row % step; j < shape->k; j += step) col[crow[row + 1]++] = j;
  }
  shape->nnz = crow[shape->n];
  const float* values = memory<float>(shape->nnz);
  char* packed = memory<char>(csr_packed_bytes(*shape, layout, sizeof(float)));
  cpu::csr_matmul_pack(CsrPackArgs<float>{{crow, col, values, *shape}, layout, packed});
  return packed;
}

// m, n, k, step
Call csr(const Sizes& s) {
  CsrMatmulArgs<float> args{};
  args.m = s[0], args.shape = {s[1], s[2], 0}, args.layout = csr_layout(args.shape, s[0]);
  args.packed = sparse(&args.shape, args.layout, s[3]);
  args.x = memory<float>(s[0] * s[2]);
  args.out = memory<float>(s[0] * s[1]);
  return [args] { cpu::csr_matmul(args); };
}

// in_c, out_c, size, step: 3x3, padding 1, one image.
Call csr_conv(const Sizes& s) {
  CsrConv2dArgs args{};
  args.shape = {s[1], s[0] * 9, 0}, args.layout = csr_layout(args.shape, kCsrConvBatch);
  args.packed = sparse(&args.shape, args.layout, s[3]);
  args.batch = 1, args.in_c = s[0], args.h = args.w = args.out_h = args.out_w = s[2];
  args.kernel_h = args.kernel_w = 3, args.pad_h = args.pad_w = 1;
  args.stride_h = args.stride_w = args.dilation_h = args.dilation_w = 1;
  args.input = memory<float>(s[0] * s[2] * s[2]);
  args.out = memory<float>(s[1] * s[2] * s[2]);
  return [args] { cpu::csr_conv2d(args); };
}

Call prepare(const std::string& kernel, const Sizes& sizes) {
  if (kernel == "winograd_conv2d") return winograd(sizes);
  if (kernel == "direct_conv2d") return direct(sizes);
  if (kernel == "sgemm") return gemm(sizes);
  if (kernel == "strassen_gemm") return strassen(sizes);
  if (kernel == "int8_gemm") return int8(sizes);
  if (kernel == "csr_matmul") return csr(sizes);
  if (kernel == "csr_conv2d") return csr_conv(sizes);
  std::fprintf(stderr, "traffic: no kernel %s\n", kernel.c_str());
  std::exit(2);
}

}  // namespace

int main(int count, char** words) {
  if (count < 6) return 2;
  const int64_t flushes = std::atoll(words[1]), calls = std::atoll(words[2]), bytes = std::atoll(words[3]);
  Sizes sizes;
  for (int i = 5; i < count; ++i) sizes.push_back(std::atoll(words[i]));
  raw::set_num_threads(1);
  const Call call = prepare(words[4], sizes);
  volatile char* other = memory<char>(bytes);
  for (int64_t i = 0; i < flushes; ++i) {
    for (int64_t byte = 0; byte < bytes; byte += 64) other[byte] = other[byte] + 1;
    if (i < calls) call();
  }
  std::printf("isa %s l2 %lld\n", cpu::isa_name(cpu::isa()), static_cast<long long>(cpu::cache_sizes().l2));
}
