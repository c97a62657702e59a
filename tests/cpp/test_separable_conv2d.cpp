// separable_conv2d against its layers one after the other, bit by bit, and the cutting of it into work.
#include "api/separable_conv2d.h"

#include <algorithm>
#include <vector>

#include "check.h"
#include "cpu/separable_conv2d/plan.h"

namespace {

using namespace greenkernels;
using namespace greenkernels::cpu;
using namespace greenkernels::test;

struct Case {
  int64_t batch, in_c, hidden, out_c, h, w, kernel, stride, dilation;
  bool expand, skip;
};

// Smallest, odd, no expand, larger than L2 in either form, nothing at all.
const Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, true, false},      {2, 3, 17, 5, 7, 9, 3, 1, 1, true, true},
    {1, 16, 48, 24, 15, 13, 5, 2, 1, true, true},  {2, 33, 33, 40, 9, 8, 3, 1, 2, false, false},
    {1, 8, 300, 20, 61, 70, 3, 1, 1, true, true},  {1, 400, 400, 20, 61, 70, 3, 2, 1, false, true},
    {1, 40, 130, 20, 14, 14, 3, 1, 1, true, true}, {3, 24, 400, 40, 7, 7, 5, 2, 1, true, true},
    {2, 8, 500, 8, 40, 41, 7, 1, 1, true, false},  {0, 4, 8, 4, 5, 5, 3, 1, 1, true, false},
    {1, 4, 0, 4, 5, 5, 3, 1, 1, true, true},       {1, 4, 8, 0, 5, 5, 3, 1, 1, true, false},
};

// 64-byte aligned values.
struct Values {
  std::vector<float> memory;
  float* data;
  explicit Values(int64_t size, int seed = 0) : memory(random_normal<float>(size + 16, seed)) {
    data = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64 / sizeof(float);
  }
};

SeparableConv2dArgs sizes_of(const Case& c) {
  SeparableConv2dArgs args{};
  args.filter = {c.hidden, c.kernel, c.kernel};
  args.batch = c.batch, args.in_c = c.expand ? c.in_c : c.hidden, args.out_c = c.out_c;
  args.h = c.h, args.w = c.w;
  args.pad_h = args.pad_w = c.kernel / 2;
  args.stride_h = args.stride_w = c.stride;
  args.dilation_h = args.dilation_w = c.dilation;
  args.skip_scale = 0.5;
  return args;
}

// The same by the kernels of the layers, on whole maps.
std::vector<float> layer_by_layer(const SeparableConv2dArgs& args) {
  const int64_t in_pixels = args.batch * args.h * args.w, hidden_c = args.filter.channels;
  const int64_t out_pixels = args.batch * args.out_h() * args.out_w();
  std::vector<float> hidden(in_pixels * hidden_c), middle(out_pixels * hidden_c),
      out(out_pixels * args.out_c);
  DirectConv2dArgs<float> pointwise{};
  pointwise.input_layout = pointwise.out_layout = MapLayout::kNhwc;
  pointwise.batch = pointwise.h = 1;
  pointwise.stride_h = pointwise.stride_w = pointwise.dilation_h = pointwise.dilation_w = 1;
  pointwise.input = args.input, pointwise.packed = args.expand.packed, pointwise.bias = args.expand.bias;
  pointwise.activation = args.expand.activation, pointwise.out = hidden.data();
  pointwise.filter = args.expand_filter(), pointwise.w = in_pixels;
  if (args.expand.packed) direct_conv2d(pointwise);
  DepthwiseConv2dArgs<float> depthwise{};
  depthwise.input = args.expand.packed ? hidden.data() : args.input;
  depthwise.packed = args.depthwise, depthwise.bias = args.depthwise_bias, depthwise.out = middle.data();
  depthwise.activation = args.depthwise_activation;
  depthwise.input_layout = depthwise.out_layout = MapLayout::kNhwc;
  depthwise.filter = args.filter, depthwise.batch = args.batch, depthwise.h = args.h, depthwise.w = args.w;
  depthwise.pad_h = args.pad_h, depthwise.pad_w = args.pad_w;
  depthwise.stride_h = args.stride_h, depthwise.stride_w = args.stride_w;
  depthwise.dilation_h = args.dilation_h, depthwise.dilation_w = args.dilation_w;
  depthwise_conv2d(depthwise);
  pointwise.input = middle.data(), pointwise.packed = args.project.packed, pointwise.bias = args.project.bias;
  pointwise.activation = args.project.activation, pointwise.out = out.data();
  pointwise.skip = args.skip, pointwise.skip_scale = args.skip_scale;
  pointwise.filter = args.project_filter(), pointwise.w = out_pixels;
  direct_conv2d(pointwise);
  return out;
}

void check_values(const Case& c) {
  SeparableConv2dArgs args = sizes_of(c);
  const int64_t out_pixels = c.batch * args.out_h() * args.out_w();
  const Values input(c.batch * c.h * c.w * args.in_c, 1), skip(out_pixels * c.out_c, 2);
  const Values expand(args.expand_filter().packed_size(), 3), project(args.project_filter().packed_size(), 4);
  const Values depthwise(args.filter.packed_size(), 5), bias(std::max(c.hidden, c.out_c), 6);
  args.input = input.data, args.skip = c.skip ? skip.data : nullptr;
  args.expand = {c.expand ? expand.data : nullptr, bias.data, Activation::kRelu6};
  args.project = {project.data, bias.data, Activation::kNone};
  args.depthwise = depthwise.data, args.depthwise_bias = bias.data;
  args.depthwise_activation = Activation::kHardswish;
  std::vector<float> out(out_pixels * c.out_c + 64, 77.0f);  // the tail must stay
  args.out = out.data();
  separable_conv2d(args);
  const std::vector<float> expected = layer_by_layer(args);
  // Which block of pixels a sum falls into does not change its order, so every bit is the same.
  GK_EXPECT(std::equal(expected.begin(), expected.end(), out.begin()),
            "isa %s channels %ld-%ld-%ld map %ldx%ld kernel %ld stride %ld", isa_name(isa()), long(c.in_c),
            long(c.hidden), long(c.out_c), long(c.h), long(c.w), long(c.kernel), long(c.stride));
  GK_EXPECT(std::all_of(out.end() - 64, out.end(), [](float v) { return v == 77.0f; }), "wrote past out");
}

void pieces_cover_all_rows_and_fit() {
  for (const Case& c : kCases) {
    for (const int threads : {1, 2, 5, 64}) {
      SeparableConv2dArgs args = sizes_of(c);
      const float weight = 0;
      if (c.expand) args.expand.packed = &weight;
      if (c.batch * c.hidden * c.out_c == 0) continue;
      const SeparablePlan plan = separable_plan(args, threads, int64_t{2} << 20);
      GK_EXPECT(plan.pieces * plan.piece_rows >= args.out_h(), "%ld pieces of %ld rows", long(plan.pieces),
                long(plan.piece_rows));
      GK_EXPECT((plan.pieces - 1) * plan.piece_rows < args.out_h(), "an empty piece of %ld",
                long(plan.pieces));
      GK_EXPECT(plan.band_rows % 2 == 0 && plan.piece_rows % plan.band_rows == 0, "bands of %ld rows",
                long(plan.band_rows));
      const RowRange last = rows_under(args, (plan.pieces - 1) * plan.piece_rows, args.out_h());
      GK_EXPECT(0 <= last.begin && last.begin <= last.end && last.end <= c.h, "rows %ld to %ld",
                long(last.begin), long(last.end));
    }
  }
}

}  // namespace

int main() {
  for_each_isa([](Isa) {
    for (const Case& c : kCases) check_values(c);
  });
  pieces_cover_all_rows_and_fit();
  return result();
}
