// separable_conv2d on the CPU: the kernels of direct_conv2d and depthwise_conv2d, on whole maps or row by
// row.
#include <algorithm>

#include "api/separable_conv2d.h"
#include "cpu/depthwise_conv2d/rows.h"
#include "cpu/direct_conv2d/panels.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "cpu/separable_conv2d/plan.h"

namespace greenkernels::cpu {

namespace {

// `count` pixels of `in` through a 1x1 convolution.
DirectConv2dArgs<float> pointwise_args(const PointwiseLayer& layer, const DirectFilter& filter,
                                       const float* in, int64_t count, float* out) {
  DirectConv2dArgs<float> args{};
  args.input = in;
  args.packed = layer.packed;
  args.bias = layer.bias;
  args.out = out;
  args.activation = layer.activation;
  args.input_layout = args.out_layout = MapLayout::kNhwc;
  args.filter = filter;
  args.batch = args.h = 1;
  args.w = count;
  args.stride_h = args.stride_w = args.dilation_h = args.dilation_w = 1;
  return args;
}

void project(const SeparableConv2dArgs& args, const float* middle, int64_t first, int64_t count) {
  DirectConv2dArgs<float> pointwise =
      pointwise_args(args.project, args.project_filter(), middle, count, args.out + first * args.out_c);
  pointwise.skip = args.skip ? args.skip + first * args.out_c : nullptr;
  pointwise.skip_scale = args.skip_scale;
  direct_conv2d(pointwise);
}

DepthwiseConv2dArgs<float> depthwise_args(const SeparableConv2dArgs& args) {
  DepthwiseConv2dArgs<float> depthwise{};
  depthwise.packed = args.depthwise;
  depthwise.bias = args.depthwise_bias;
  depthwise.activation = args.depthwise_activation;
  depthwise.input_layout = depthwise.out_layout = MapLayout::kNhwc;
  depthwise.filter = args.filter;
  depthwise.batch = 1;
  depthwise.h = args.h;
  depthwise.w = args.w;
  depthwise.pad_h = args.pad_h;
  depthwise.pad_w = args.pad_w;
  depthwise.stride_h = args.stride_h;
  depthwise.stride_w = args.stride_w;
  depthwise.dilation_h = args.dilation_h;
  depthwise.dilation_w = args.dilation_w;
  return depthwise;
}

// Whole maps, layer by layer; the first two layers by chunks of channels, so that a thread reads what it
// wrote.
void run_whole(const SeparableConv2dArgs& args, const SeparablePlan& plan) {
  const int64_t channels = args.filter.channels, in_pixels = args.batch * args.h * args.w;
  const int64_t out_pixels = args.batch * args.out_h() * args.out_w();
  const int64_t hidden_size = args.expand.packed ? in_pixels * channels : 0;
  const ScratchLease scratch((hidden_size + out_pixels * channels) * sizeof(float));
  float* middle = scratch.as<float>();
  float* hidden = middle + out_pixels * channels;
  DepthwiseConv2dArgs<float> depthwise = depthwise_args(args);
  depthwise.batch = args.batch;
  depthwise.input = args.expand.packed ? hidden : args.input;
  depthwise.out = middle;
  if (hidden_size > 0) {
    const DirectConv2dArgs<float> expand =
        pointwise_args(args.expand, args.expand_filter(), args.input, in_pixels, hidden);
    const int64_t panels = (channels + kDirectPanel - 1) / kDirectPanel, chunk = plan.chunk_panels;
    parallel_for_pieces(panels, chunk, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin; first < end; first += chunk) {
        direct_conv2d_panels(expand, first, std::min(first + chunk, end));
        depthwise_conv2d_chunk(depthwise, chunk * kDirectPanel, first / chunk);
      }
    });
  } else {
    depthwise_conv2d(depthwise);
  }
  project(args, middle, 0, out_pixels);
}

// Output rows [begin, end) of image n. hidden: as many rows as are under a piece; middle: of a band.
void run_piece(const SeparableConv2dArgs& args, int64_t n, int64_t begin, int64_t end, int64_t band_rows,
               float* hidden, float* middle) {
  const int64_t channels = args.filter.channels, row = args.w * args.in_c, out_w = args.out_w();
  const float* input = args.input + n * args.h * row;
  DepthwiseConv2dArgs<float> depthwise = depthwise_args(args);
  depthwise.input = input;
  if (args.expand.packed) {
    const RowRange under = rows_under(args, begin, end);
    direct_conv2d(pointwise_args(args.expand, args.expand_filter(), input + under.begin * row,
                                 (under.end - under.begin) * args.w, hidden));
    depthwise.input = hidden - under.begin * args.w * channels;  // row 0 of the map, were it there
  }
  for (int64_t first = begin; first < end; first += band_rows) {
    const int64_t last = std::min(first + band_rows, end);
    depthwise.out = middle - first * out_w * channels;
    depthwise_conv2d_rows(depthwise, first, last);
    project(args, middle, (n * args.out_h() + first) * out_w, (last - first) * out_w);
  }
}

void run_pieces(const SeparableConv2dArgs& args, const SeparablePlan& plan) {
  const int64_t out_h = args.out_h(), channels = args.filter.channels;
  const int64_t reach = (args.filter.kernel_h - 1) * args.dilation_h + 1;
  const int64_t under = std::min((plan.piece_rows - 1) * args.stride_h + reach, args.h);
  const int64_t hidden_size = args.expand.packed ? under * args.w * channels : 0;
  const int64_t middle_size = plan.band_rows * args.out_w() * channels;
  parallel_for_pieces(args.batch * plan.pieces, 1, [&](int64_t begin, int64_t end) {
    const ScratchLease scratch((hidden_size + middle_size) * sizeof(float));
    float* middle = scratch.as<float>();
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % plan.pieces * plan.piece_rows;
      const int64_t last = std::min(first + plan.piece_rows, out_h);
      run_piece(args, i / plan.pieces, first, last, plan.band_rows, middle + middle_size, middle);
    }
  });
}

}  // namespace

void separable_conv2d(const SeparableConv2dArgs& args) {
  if (args.batch == 0 || args.out_c == 0 || args.out_h() == 0 || args.out_w() == 0) return;
  if (args.filter.channels == 0) return project(args, nullptr, 0, args.batch * args.out_h() * args.out_w());
  const SeparablePlan plan = separable_plan(args, num_threads(), cache_sizes().l2);
  plan.whole ? run_whole(args, plan) : run_pieces(args, plan);
}

}  // namespace greenkernels::cpu
