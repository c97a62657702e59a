// The torch side of separable_conv2d: checks, layouts, allocation, registration.
// greenkernels/ops/separable_conv2d_op.py holds the same checks in the same order and words.
#include "api/separable_conv2d.h"

#include <torch/csrc/stable/library.h>

#include "ops/depthwise_conv2d.h"
#include "ops/conv2d_run.h"
#include "ops/direct_conv2d_entries.h"
#include "ops/huge_pages.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "separable_conv2d_packed";

using Ints = std::vector<int64_t>;
using OptionalString = std::optional<std::string>;

struct Call {
  const Tensor& input;
  const OptionalTensor &expand, &expand_bias;
  const Tensor& depthwise;
  const OptionalTensor& depthwise_bias;
  const Tensor& project;
  const OptionalTensor& project_bias;
  int64_t hidden_channels, out_channels;
  const Ints &kernel_size, &stride, &padding, &dilation;
  const OptionalString &expand_activation, &depthwise_activation, &activation;
  const OptionalTensor& skip;
  double skip_scale;

  DepthwiseFilter filter() const { return {hidden_channels, kernel_size[0], kernel_size[1]}; }
  MapSizes out_sizes() const {
    MapSizes sizes = {input.size(0), out_channels, 0, 0};
    for (int d = 0; d < 2; ++d) {
      sizes[2 + d] = DepthwiseConv2dArgs<float>::out_size(input.size(2 + d), padding[d], kernel_size[d],
                                                          stride[d], dilation[d]);
    }
    return sizes;
  }
};

// One of the three packed weights, and its bias.
void check_layer(const Call& call, const char* name, const Tensor& packed, int64_t size,
                 const OptionalTensor& bias, int64_t channels) {
  check_tensor(kOp, name, packed, 1, ScalarType::Float, "input", call.input);
  GK_CHECK(packed.numel() == size && packed.is_contiguous(), kOp, name, " must have ", size,
           " packed elements, got ", packed.numel());
  if (!bias) return;
  const std::string bias_name = std::string(name) + "_bias";
  check_tensor(kOp, bias_name.c_str(), *bias, 1, ScalarType::Float, "input", call.input);
  GK_CHECK(bias->size(0) == channels, kOp, bias_name, " must have ", channels, " elements, got ",
           bias->size(0));
}

Activation checked_activation(const char* name, const OptionalString& given) {
  if (!given) return Activation::kNone;
  for (int i = 1; i < int(std::size(kActivationNames)); ++i) {
    const auto activation = static_cast<Activation>(i);
    if (*given != kActivationNames[i] || activation == Activation::kLeakyRelu) continue;
    if (activation != Activation::kPrelu) return activation;
  }
  fail(kOp, name, " must be None or an activation without a parameter, got ", *given);
}

void check_map(const Tensor& input) {
  check_input(kOp, input);
  GK_CHECK(input.scalar_type() == ScalarType::Float, kOp, "input must be float32, got ",
           dtype_name(input.scalar_type()));
}

void check_call(const Call& call) {
  check_map(call.input);
  const int64_t in_c = call.input.size(1), hidden = call.hidden_channels;
  const int64_t limit = int64_t{1} << 31;
  GK_CHECK(0 <= hidden && hidden < limit, kOp, "hidden_channels must be in [0, 2^31), got ", hidden);
  GK_CHECK(0 <= call.out_channels && call.out_channels < limit, kOp,
           "out_channels must be in [0, 2^31), got ", call.out_channels);
  GK_CHECK(call.expand || hidden == in_c, kOp, "hidden_channels must be those of input, ", in_c,
           ", without expand, got ", hidden);
  const std::optional<std::string> none;
  const OptionalTensor nothing;
  const DirectCall geometry{{kOp, call.input, nothing, hidden, none, nothing, nothing, 1.0},
                            call.kernel_size,
                            call.stride,
                            call.padding,
                            call.dilation,
                            1};
  check_sizes(geometry);
  if (call.expand) {
    check_layer(call, "expand", *call.expand, DirectFilter{hidden, in_c, 1, 1, 1}.packed_size(),
                call.expand_bias, hidden);
  }
  check_layer(call, "depthwise", call.depthwise, call.filter().packed_size(), call.depthwise_bias, hidden);
  check_layer(call, "project", call.project, DirectFilter{call.out_channels, hidden, 1, 1, 1}.packed_size(),
              call.project_bias, call.out_channels);
  const ConvCall skipped{kOp, call.input, nothing, call.out_channels, none, nothing, call.skip, 1.0};
  check_skip(skipped, call.out_sizes());
}

// What the kernel reads, kept alive and where it wants it: weights aligned, biases and maps dense.
struct Held {
  Tensor input, depthwise, project;
  OptionalTensor expand, expand_bias, depthwise_bias, project_bias, skip;
};

Tensor aligned(const Tensor& packed) {
  // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
  const bool is_aligned = reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 64 == 0;
  return is_aligned ? packed : torch::stable::clone(packed);
}

OptionalTensor contiguous_bias(const OptionalTensor& bias) {
  if (!bias) return bias;
  return as_contiguous(kOp, "a copy of a bias", *bias, ScalarType::Float);
}

Held hold(const Call& call) {
  const auto map = [](const char* what, const Tensor& tensor) {
    return as_dense_map(kOp, what, tensor, ScalarType::Float, MapLayout::kNhwc);
  };
  Held held{map("a dense copy of input", call.input), aligned(call.depthwise), aligned(call.project)};
  if (call.expand) held.expand = aligned(*call.expand);
  held.expand_bias = contiguous_bias(call.expand_bias);
  held.depthwise_bias = contiguous_bias(call.depthwise_bias);
  held.project_bias = contiguous_bias(call.project_bias);
  if (call.skip) held.skip = map("a dense copy of skip", *call.skip);
  return held;
}

// What a layer without weights points to: it has no input channels, and is there all the same.
constexpr float kNoWeights = 0;

const float* data(const OptionalTensor& tensor) { return tensor ? tensor->const_data_ptr<float>() : nullptr; }

SeparableConv2dArgs args_of(const Call& call, const Held& held) {
  SeparableConv2dArgs args{};
  args.input = held.input.const_data_ptr<float>();
  args.skip = data(held.skip);
  const bool no_weights = held.expand && held.expand->numel() == 0;
  args.expand = {no_weights ? &kNoWeights : data(held.expand), data(held.expand_bias),
                 checked_activation("expand_activation", call.expand_activation)};
  args.project = {held.project.const_data_ptr<float>(), data(held.project_bias),
                  checked_activation("activation", call.activation)};
  args.depthwise = held.depthwise.const_data_ptr<float>();
  args.depthwise_bias = data(held.depthwise_bias);
  args.depthwise_activation = checked_activation("depthwise_activation", call.depthwise_activation);
  args.skip_scale = call.skip_scale;
  args.filter = call.filter();
  args.batch = call.input.size(0), args.in_c = call.input.size(1), args.out_c = call.out_channels;
  args.h = call.input.size(2), args.w = call.input.size(3);
  args.pad_h = call.padding[0], args.pad_w = call.padding[1];
  args.stride_h = call.stride[0], args.stride_w = call.stride[1];
  args.dilation_h = call.dilation[0], args.dilation_w = call.dilation[1];
  return args;
}

// The output in channels_last, in which the kernel works.
Tensor run_block(const Call& call) {
  check_call(call);
  const Held held = hold(call);
  SeparableConv2dArgs args = args_of(call, held);
  const Tensor out = with_huge_pages(
      empty_map(kOp, "the output", call.out_sizes(), MapLayout::kNhwc, ScalarType::Float, call.input));
  args.out = out.mutable_data_ptr<float>();
  try {
    cpu::separable_conv2d(args);
  } catch (const std::bad_alloc&) {
    fail(kOp, "out of memory: could not allocate scratch memory");
  }
  return out;
}

// In the memory format of the input.
Tensor in_format_of(const Tensor& input, const Tensor& out) {
  return as_dense_map(kOp, "the output", out, ScalarType::Float, suggested_layout(input));
}

Tensor separable_conv2d_packed(const Tensor& input, const OptionalTensor& expand,
                               const OptionalTensor& expand_bias, const Tensor& depthwise,
                               const OptionalTensor& depthwise_bias, const Tensor& project,
                               const OptionalTensor& project_bias, int64_t hidden_channels,
                               int64_t out_channels, Ints kernel_size, Ints stride, Ints padding,
                               Ints dilation, const OptionalString& expand_activation,
                               const OptionalString& depthwise_activation, const OptionalString& activation,
                               const OptionalTensor& skip, double skip_scale) {
  const Call call{input,      expand,       expand_bias,     depthwise,         depthwise_bias,
                  project,    project_bias, hidden_channels, out_channels,      kernel_size,
                  stride,     padding,      dilation,        expand_activation, depthwise_activation,
                  activation, skip,         skip_scale};
  return in_format_of(input, run_block(call));
}

constexpr const char* kBlocksOp = "separable_conv2d_blocks";
constexpr int kBlockTensors = 6, kBlockNumbers = 14;

// One block of the lists, and how far they are read.
struct Listed {
  const std::vector<Tensor>& tensors;
  const Ints& numbers;
  size_t tensor = 0, number = 0;

  int64_t next() { return numbers[number++]; }
  OptionalTensor next_tensor(bool there) {
    if (!there) return std::nullopt;
    GK_CHECK(tensor < tensors.size(), kBlocksOp, "tensors must be those that numbers name, got ",
             tensors.size());
    return tensors[tensor++];
  }
  Ints next_pair() {
    const int64_t first = next();
    return {first, next()};
  }
  OptionalString next_activation() {
    const int64_t kind = next(), kinds = int64_t(std::size(kActivationNames)) - 1;
    GK_CHECK(0 <= kind && kind <= kinds, kBlocksOp, "numbers must name activations in [0, ", kinds, "], got ",
             kind);
    return kind ? OptionalString(kActivationNames[kind]) : std::nullopt;
  }
};

// One layer of the lists on direct_conv2d, or one block.
Tensor run_next(const Tensor& input, Listed& list) {
  constexpr int64_t kDepthwise = 4, kProject = 16, kProjectBias = 32, kAdds = 64, kLayer = 128;
  const int64_t there = list.next(), rest = there & ~(kLayer + kProject + kProjectBias);
  const int64_t needed = there & kLayer ? kProject : kProject + kDepthwise;
  GK_CHECK(0 <= there && there < (rest ? kLayer : 2 * kLayer) && (there & needed) == needed, kBlocksOp,
           "numbers must name the tensors of a block or a layer, got ", there);
  OptionalTensor own[kBlockTensors];
  for (int i = 0; i < kBlockTensors; ++i) own[i] = list.next_tensor(there >> i & 1);
  const int64_t hidden = list.next(), out_c = list.next();
  const Ints kernel_size = list.next_pair(), stride = list.next_pair(), padding = list.next_pair();
  const Ints dilation = list.next_pair();
  const OptionalString expand_kind = list.next_activation(), depthwise_kind = list.next_activation();
  const OptionalString kind = list.next_activation();
  const OptionalTensor none;
  if (there & kLayer) {
    const DirectCall call{{kDirectPackedOp, input, own[5], out_c, kind, none, none, 1.0},
                          kernel_size,
                          stride,
                          padding,
                          dilation,
                          hidden};
    return CpuConvolution::convolve(call, checked_packed(call, *own[4]));
  }
  const OptionalTensor skip = there & kAdds ? OptionalTensor(input) : std::nullopt;
  return run_block({input, own[0], own[1], *own[2], own[3], *own[4], own[5], hidden, out_c, kernel_size,
                    stride, padding, dilation, expand_kind, depthwise_kind, kind, skip, 1.0});
}

// Blocks and layers one after the other; what they are is said in separable_conv2d_op.py, at listed().
Tensor separable_conv2d_blocks(const Tensor& input, std::vector<Tensor> tensors, Ints numbers) {
  GK_CHECK(!numbers.empty() && numbers.size() % kBlockNumbers == 0, kBlocksOp, "numbers must be ",
           kBlockNumbers, " for each of at least one block, got ", numbers.size());
  check_map(input);
  Listed list{tensors, numbers};
  Tensor map = as_dense_map(kBlocksOp, "a dense copy of input", input, ScalarType::Float, MapLayout::kNhwc);
  while (list.number < numbers.size()) map = run_next(map, list);
  GK_CHECK(list.tensor == tensors.size(), kBlocksOp, "tensors must be those that numbers name, got ",
           tensors.size());
  return in_format_of(input, map);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("separable_conv2d_packed", TORCH_BOX(&separable_conv2d_packed));
  m.impl("separable_conv2d_blocks", TORCH_BOX(&separable_conv2d_blocks));
}

}  // namespace greenkernels::ops
