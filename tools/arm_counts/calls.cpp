// Calls one kernel a number of times on one thread, for an emulator that counts instructions: calls KERNEL N.
// Prints the multiply-adds of a call, as the plain definition of the operation has them.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "api/csr_matmul.h"
#include "api/int8_gemm.h"
#include "api/sgemm.h"
#include "api/winograd_conv2d.h"
#include "raw/parallel.h"

namespace {

using namespace greenkernels;

std::vector<float> values(int64_t count) {
  std::mt19937 stream(1);
  std::vector<float> made(count);
  for (float& value : made) value = float(stream() % 255) / 64 - 2;
  return made;
}

// 64-byte aligned; never freed, since the program ends after the calls.
template <typename T>
T* aligned(int64_t bytes) {
  return static_cast<T*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
}

int64_t run_sgemm(int calls) {
  const int64_t m = 128, n = 256, k = 256;
  const auto a = values(m * k), b = values(n * k);
  float* const packed = aligned<float>(sgemm_padded_columns(n) * k * 4);
  cpu::sgemm_pack(SgemmPackArgs<float>{b.data(), packed, k, 1, n, k});
  std::vector<float> out(m * n);
  SgemmArgs<float> args{};
  args.a = a.data(), args.a_row = k, args.a_depth = 1, args.packed = packed, args.out = out.data();
  args.batch = 1, args.m = m, args.n = n, args.k = k, args.out_row = n, args.out_column = 1;
  for (int i = 0; i < calls; ++i) cpu::sgemm(args);
  return m * n * k;
}

int64_t run_winograd(int calls) {
  const int64_t channels = 64, side = 28;
  const int tile = 4;
  const auto input = values(channels * side * side), weight = values(channels * channels * 9);
  float* const packed = aligned<float>(winograd_packed_size(channels, channels, tile) * 4);
  cpu::winograd_conv2d_pack(WinogradPackArgs<float>{weight.data(), packed, channels, channels, tile});
  std::vector<float> out(channels * side * side);
  const WinogradConv2dArgs<float> args{input.data(),
                                       packed,
                                       nullptr,
                                       nullptr,
                                       out.data(),
                                       Activation::kRelu,
                                       nullptr,
                                       0,
                                       0,
                                       MapLayout::kNhwc,
                                       MapLayout::kNhwc,
                                       1,
                                       channels,
                                       channels,
                                       side,
                                       side,
                                       1,
                                       1,
                                       tile};
  for (int i = 0; i < calls; ++i) cpu::winograd_conv2d(args);
  return 9 * channels * channels * side * side;
}

int64_t run_csr(int calls) {
  const int64_t m = 64, n = 256, k = 512, per_row = 51;  // 90 % zeros
  std::vector<int64_t> crow, columns;
  for (int64_t j = 0; j <= n; ++j) crow.push_back(j * per_row);
  for (int64_t j = 0; j < n * per_row; ++j) columns.push_back(j % per_row * 10 + j / per_row % 10);
  const auto weight = values(n * per_row), x = values(m * k);
  const CsrShape shape{n, k, n * per_row};
  const CsrLayout layout = csr_layout(shape, m);
  void* const packed = aligned<char>(csr_packed_bytes(shape, layout, 4));
  cpu::csr_matmul_pack(
      CsrPackArgs<float>{{crow.data(), columns.data(), weight.data(), shape}, layout, packed});
  std::vector<float> out(m * n);
  const CsrMatmulArgs<float> args{x.data(), packed, nullptr, out.data(), shape, layout, m};
  for (int i = 0; i < calls; ++i) cpu::csr_matmul(args);
  return m * shape.nnz;
}

int64_t run_int8(int calls) {
  const int64_t m = 128, n = 256, k = 512;
  const std::vector<uint8_t> a(m * k, 7);
  const std::vector<int8_t> b(n * k, -3);
  const Int8Weight shape{n, k};
  int8_t* const packed = aligned<int8_t>(shape.packed_bytes());
  cpu::int8_gemm_pack({b.data(), packed, shape});
  std::vector<int32_t> out(m * n);
  Int8GemmArgs args{};
  args.a = a.data(), args.packed = packed, args.m = m, args.shape = shape, args.out = out.data();
  args.input = Int8Input::kUint8, args.output = Int8Output::kSums;
  for (int i = 0; i < calls; ++i) cpu::int8_gemm(args);
  return m * n * k;
}

}  // namespace

int main(int count, char** words) {
  const char* const kernel = count > 1 ? words[1] : "";
  const int calls = count > 2 ? std::atoi(words[2]) : 1;
  raw::set_num_threads(1);
  const int64_t products = !std::strcmp(kernel, "sgemm")             ? run_sgemm(calls)
                           : !std::strcmp(kernel, "winograd_conv2d") ? run_winograd(calls)
                           : !std::strcmp(kernel, "csr_matmul")      ? run_csr(calls)
                           : !std::strcmp(kernel, "int8_gemm")       ? run_int8(calls)
                                                                     : 0;
  std::printf("%lld\n", static_cast<long long>(products));
  return products ? 0 : 1;
}
