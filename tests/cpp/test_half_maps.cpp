// Convolutions of maps of 16-bit numbers, every instruction set: they compute in float32, so that their
// results are those of the float32 kernels on the widened maps, rounded once.
#include <string>

#include "api/depthwise_conv2d.h"
#include "api/winograd_conv2d.h"
#include "conv_oracle.h"
#include "cpu/half.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::test;

// Batch, channels and sizes of the map and of its padding: smallest, ragged against vectors and tiles, more
// channels than a block.
struct Size {
  int64_t batch, in_c, out_c, h, w, pad;

  int64_t inputs() const { return batch * in_c * h * w; }
  int64_t outputs(int64_t channels) const { return batch * channels * (h + 2 * pad - 2) * (w + 2 * pad - 2); }
};

const Size kSizes[] = {{1, 1, 1, 3, 3, 0},
                       {2, 3, 5, 7, 5, 1},
                       {1, 17, 33, 9, 13, 1},
                       {3, 48, 40, 6, 19, 2},
                       {1, 16, 16, 12, 12, 1}};

template <typename S>
S narrowed(float x) {
  if constexpr (std::is_same_v<S, BFloat16>) {
    return cpu::to_bfloat16(x);
  } else {
    return cpu::to_float16(x);
  }
}

template <typename S>
constexpr const char* kName = std::is_same_v<S, BFloat16> ? "bfloat16" : "float16";

// A map in both formats.
template <typename S>
struct Map {
  std::vector<S> half;
  std::vector<float> wide;
};

template <typename S>
Map<S> random_map(int64_t count, unsigned seed) {
  Map<S> map;
  for (const float x : random_normal<float>(count, seed)) {
    map.half.push_back(narrowed<S>(x));
    map.wide.push_back(cpu::to_float(map.half.back()));
  }
  return map;
}

constexpr uint16_t kUnwritten = 0x4242;

// `half` is `wide` rounded, and the 64 elements behind are as they were.
template <typename S>
void expect_rounded(const std::string& what, const std::vector<S>& half, const std::vector<float>& wide) {
  for (size_t i = 0; i < half.size(); ++i) {
    const uint16_t expected = i < wide.size() ? narrowed<S>(wide[i]).bits : kUnwritten;
    GK_EXPECT(half[i].bits == expected, "%s, %s, isa %s: element %zu of %zu is %04x, expected %04x",
              what.c_str(), kName<S>, cpu::isa_name(cpu::isa()), i, wide.size(), half[i].bits, expected);
    if (half[i].bits != expected) return;
  }
}

std::string name(const char* op, const Size& s, MapLayout in, MapLayout out, int tile) {
  return std::string(op) + " " + std::to_string(s.in_c) + " channels, map " + std::to_string(s.h) + "x" +
         std::to_string(s.w) + ", layouts " + std::to_string(int(in)) + std::to_string(int(out)) + ", tile " +
         std::to_string(tile);
}

template <typename S>
void check_winograd(const Size& s, MapLayout in, MapLayout out, int tile) {
  const Map<S> input = random_map<S>(s.inputs(), 1), skip = random_map<S>(s.outputs(s.out_c), 2);
  const auto weight = random_normal<float>(s.out_c * s.in_c * 9, 3), bias = random_normal<float>(s.out_c, 4);
  std::vector<float> packed(winograd_packed_size(s.out_c, s.in_c, tile)), wide(s.outputs(s.out_c));
  std::vector<S> half(wide.size() + 64, S{kUnwritten});
  cpu::winograd_conv2d_pack(WinogradPackArgs<float>{weight.data(), packed.data(), s.out_c, s.in_c, tile});
  const auto run = [&]<typename T>(const T* x, const T* added, T* result) {
    cpu::winograd_conv2d(WinogradConv2dArgs<float, T>{x, packed.data(), bias.data(), added, result,
                                                      Activation::kRelu, nullptr, 0, 0.5, in, out, s.batch,
                                                      s.in_c, s.out_c, s.h, s.w, s.pad, s.pad, tile});
  };
  run(input.wide.data(), skip.wide.data(), wide.data());
  run(input.half.data(), skip.half.data(), half.data());
  expect_rounded<S>(name("winograd_conv2d", s, in, out, tile), half, wide);
}

template <typename S>
void check_winograd_weight_grad(const Size& s, MapLayout in, MapLayout out, int tile) {
  const Map<S> input = random_map<S>(s.inputs(), 5), grad = random_map<S>(s.outputs(s.out_c), 6);
  std::vector<float> of_wide(s.out_c * s.in_c * 9), of_half(of_wide.size(), -1);
  const auto run = [&]<typename T>(const T* x, const T* g, float* result) {
    cpu::winograd_conv2d_weight_grad(WinogradWeightGradArgs<float, T>{x, g, result, in, out, s.batch, s.in_c,
                                                                      s.out_c, s.h, s.w, s.pad, s.pad, tile});
  };
  run(input.wide.data(), grad.wide.data(), of_wide.data());
  run(input.half.data(), grad.half.data(), of_half.data());
  GK_EXPECT(of_half == of_wide, "%s, %s, isa %s", name("weight gradient", s, in, out, tile).c_str(), kName<S>,
            cpu::isa_name(cpu::isa()));
}

template <typename S>
void check_depthwise(const Size& s, MapLayout in, MapLayout out, int64_t stride) {
  const DepthwiseFilter filter{s.in_c, 3, 3};
  const Map<S> input = random_map<S>(s.inputs(), 7), skip = random_map<S>(s.outputs(s.in_c), 8);
  const auto weight = random_normal<float>(s.in_c * 9, 9), bias = random_normal<float>(s.in_c, 10);
  std::vector<float> packed(filter.packed_size() + 16);
  float* aligned = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64 / 4;
  cpu::depthwise_conv2d_pack(DepthwisePackArgs<float>{weight.data(), aligned, filter});
  const auto run = [&]<typename T>(const T* x, const T* added, std::vector<T>* result) {
    DepthwiseConv2dArgs<float, T> args{};
    args.filter = filter, args.packed = aligned, args.bias = bias.data(),
    args.activation = Activation::kRelu6;
    args.batch = s.batch, args.h = s.h, args.w = s.w, args.pad_h = args.pad_w = s.pad;
    args.stride_h = args.stride_w = stride, args.dilation_h = args.dilation_w = 1;
    args.input = x, args.skip = added, args.skip_scale = 0.5;
    args.input_layout = in, args.out_layout = out;
    const int64_t outputs = s.batch * s.in_c * args.out_h() * args.out_w();
    result->resize(outputs);
    if constexpr (std::is_same_v<T, S>) result->resize(outputs + 64, S{kUnwritten});
    args.out = result->data();
    cpu::depthwise_conv2d(args);
  };
  std::vector<float> wide;
  std::vector<S> half;
  run(input.wide.data(), skip.wide.data(), &wide);
  run(input.half.data(), skip.half.data(), &half);
  expect_rounded<S>(name("depthwise_conv2d", s, in, out, int(stride)), half, wide);
}

template <typename S>
void check_all(const Size& s) {
  for (const MapLayout in : {MapLayout::kNchw, MapLayout::kNhwc}) {
    for (const MapLayout out : {MapLayout::kNchw, MapLayout::kNhwc}) {
      for (const int tile : {2, 4, 6}) {
        check_winograd<S>(s, in, out, tile);
        if (tile != 6) check_winograd_weight_grad<S>(s, in, out, tile);
      }
      for (const int64_t stride : {1, 2}) check_depthwise<S>(s, in, out, stride);
    }
  }
}

}  // namespace

int main() {
  for_each_isa([](cpu::Isa) {
    for (const Size& s : kSizes) {
      check_all<BFloat16>(s);
      check_all<Float16>(s);
    }
  });
  return result();
}
