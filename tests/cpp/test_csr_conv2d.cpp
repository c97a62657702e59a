// csr_conv2d against a naive convolution in double: ragged sizes, every option, every instruction set.
#include "api/csr_conv2d.h"

#include <cmath>
#include <limits>

#include "api/direct_conv2d.h"
#include "check.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

struct Case {
  int64_t batch, in_c, out_c, h, w, kernel_h, kernel_w;
  int64_t pad_h = 0, pad_w = 0, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
};

// Smallest, odd, strips that end within rows, paddings wider than the map, strides, dilations, more channels
// than a tile has, nothing to convolve.
const Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1},
    {2, 3, 5, 7, 5, 3, 3, 1, 1},
    {1, 17, 70, 9, 13, 3, 3, 1, 0, 2, 2},
    {1, 16, 33, 12, 12, 1, 1},
    {1, 4, 9, 20, 23, 5, 5, 2, 2},
    {2, 6, 7, 12, 13, 2, 4, 1, 2, 3, 1, 2, 3},
    {1, 8, 40, 2, 2, 3, 3, 5, 4},
    {1, 2, 3, 1, 80, 1, 3, 0, 1, 1, 3},
    {0, 2, 3, 4, 4, 3, 3, 1, 1},
    {1, 0, 3, 4, 4, 3, 3, 1, 1},
    {1, 2, 0, 4, 4, 3, 3, 1, 1},
};

CsrConv2dArgs args_of(const Case& c, int64_t nnz) {
  const auto out = &DirectConv2dArgs<float>::out_size;
  CsrConv2dArgs args{};
  args.shape = {c.out_c, c.in_c * c.kernel_h * c.kernel_w, nnz};
  args.layout = csr_layout(args.shape, kCsrConvBatch);
  args.batch = c.batch, args.in_c = c.in_c, args.h = c.h, args.w = c.w;
  args.out_h = out(c.h, c.pad_h, c.kernel_h, c.stride_h, c.dilation_h);
  args.out_w = out(c.w, c.pad_w, c.kernel_w, c.stride_w, c.dilation_w);
  args.kernel_h = c.kernel_h, args.kernel_w = c.kernel_w;
  args.pad_h = c.pad_h, args.pad_w = c.pad_w;
  args.stride_h = c.stride_h, args.stride_w = c.stride_w;
  args.dilation_h = c.dilation_h, args.dilation_w = c.dilation_w;
  return args;
}

// The filter in CSR form, and the value of one output.
struct Filter {
  std::vector<int64_t> crow{0}, col;
  std::vector<float> values;
};

Filter make_filter(const Case& c) {
  Filter filter;
  std::mt19937 stream(unsigned(c.out_c + 7 * c.in_c));
  for (int64_t row = 0; row < c.out_c; ++row) {
    for (int64_t p = 0; p < c.in_c * c.kernel_h * c.kernel_w; ++p) {
      if (stream() % 4 == 0) filter.col.push_back(p);
    }
    filter.crow.push_back(int64_t(filter.col.size()));
  }
  filter.values = random_normal<float>(filter.col.size(), 1);
  return filter;
}

double convolve_at(const CsrConv2dArgs& args, const Filter& filter, int64_t image, int64_t channel,
                   int64_t pixel) {
  const int64_t taps = args.kernel_h * args.kernel_w;
  double sum = args.bias ? double(args.bias[channel]) : 0;
  for (int64_t p = filter.crow[channel]; p < filter.crow[channel + 1]; ++p) {
    const int64_t c = filter.col[p] / taps, tap = filter.col[p] % taps;
    const int64_t y = pixel / args.out_w * args.stride_h + tap / args.kernel_w * args.dilation_h - args.pad_h;
    const int64_t x = pixel % args.out_w * args.stride_w + tap % args.kernel_w * args.dilation_w - args.pad_w;
    if (y < 0 || y >= args.h || x < 0 || x >= args.w) continue;
    sum += double(filter.values[p]) * args.input[((image * args.in_c + c) * args.h + y) * args.w + x];
  }
  return sum;
}

void check(const Case& c, bool with_bias) {
  const Filter filter = make_filter(c);
  CsrConv2dArgs args = args_of(c, int64_t(filter.col.size()));
  std::vector<char> storage(csr_packed_bytes(args.shape, args.layout, 4) + 64);
  char* const packed = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  cpu::csr_matmul_pack(CsrPackArgs<float>{
      {filter.crow.data(), filter.col.data(), filter.values.data(), args.shape}, args.layout, packed});
  const auto input = random_normal<float>(c.batch * c.in_c * c.h * c.w, 2);
  const auto bias = random_normal<float>(c.out_c, 3);
  const int64_t pixels = args.out_h * args.out_w;
  std::vector<float> out(c.batch * c.out_c * pixels + 64, 77.0f);  // the tail must stay
  args.input = input.data(), args.packed = packed, args.out = out.data();
  args.bias = with_bias ? bias.data() : nullptr;
  cpu::csr_conv2d(args);
  for (size_t i = out.size() - 64; i < out.size(); ++i) GK_EXPECT(out[i] == 77.0f, "wrote past out");
  for (size_t i = 0; i + 64 < out.size(); ++i) {
    const int64_t map = int64_t(i) / pixels, channel = map % c.out_c;
    const double error =
        std::fabs(convolve_at(args, filter, map / c.out_c, channel, int64_t(i) % pixels) - out[i]);
    // As in test_csr_matmul.cpp: 8 covers the worst of many outputs.
    const double terms = double(filter.crow[channel + 1] - filter.crow[channel] + 2);
    GK_EXPECT(error <= 8 * std::numeric_limits<float>::epsilon() * terms,
              "in_c %ld out_c %ld at %ld: error %g", long(c.in_c), long(c.out_c), long(i), error);
  }
}

}  // namespace

int main() {
  for_each_isa([](cpu::Isa) {
    for (const Case& c : kCases) {
      check(c, false);
      check(c, true);
    }
  });
  return result();
}
