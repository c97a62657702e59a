// The torch side of int8_winograd_conv2d: checks, the op and its registration.
// greenkernels/ops/int8_winograd_conv2d_op.py holds the same checks in the same words for fake tensors and
// for plain torch; tests compare the two.
#include "api/int8_winograd_conv2d.h"

#include <torch/csrc/stable/library.h>

#include "ops/huge_pages.h"
#include "ops/int8_conv2d.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kPackedOp = "int8_winograd_conv2d_packed";

using OptionalString = std::optional<std::string>;

// What lies behind the arguments of a call, once they are checked.
struct Int8WinogradCall {
  const char* op;
  const Tensor& input;
  const Tensor& packed;
  const Tensor& weight_scale;
  const OptionalTensor& bias;
  const OptionalTensor& activation_param;
  const OptionalTensor& skip;
  double skip_scale;
  MapSizes out_sizes;
};

void check_weight(const Tensor& input, const Tensor& packed, int64_t out_channels,
                  const Tensor& weight_scale) {
  const ScalarType dtype = input.scalar_type();
  GK_CHECK(input.dim() == 4, kPackedOp, "input must be 4-D, got shape ", shape(input));
  GK_CHECK(dtype == ScalarType::Half || dtype == ScalarType::BFloat16 || dtype == ScalarType::Float,
           kPackedOp, "input must be float16, bfloat16 or float32, got ", dtype_name(dtype));
  GK_CHECK(out_channels >= 0 && out_channels < (int64_t{1} << 31), kPackedOp,
           "out_channels must be in [0, 2^31), got ", out_channels);
  GK_CHECK(input.size(1) <= kInt8Slice, kPackedOp, "input must have at most ", kInt8Slice, " channels, got ",
           input.size(1));
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), kPackedOp,
           "packed must be 1-D and contiguous, got shape ", shape(packed));
  GK_CHECK(packed.scalar_type() == ScalarType::Char, kPackedOp, "packed must be int8, got ",
           dtype_name(packed.scalar_type()));
  check_device(kPackedOp, "packed", packed, "input", input);
  const int64_t bytes = kInt8WinogradTaps * Int8Weight{out_channels, input.size(1)}.packed_bytes();
  GK_CHECK(packed.numel() == bytes, kPackedOp, "packed must have ", bytes, " elements for ", input.size(1),
           " -> ", out_channels, " channels, got ", packed.numel());
  const bool fits = weight_scale.dim() == 2 && weight_scale.size(0) == kInt8WinogradTaps &&
                    weight_scale.size(1) == out_channels;
  GK_CHECK(fits, kPackedOp, "weight_scale must be [16, ", out_channels, "], got ", shape(weight_scale));
  GK_CHECK(weight_scale.scalar_type() == ScalarType::Float, kPackedOp, "weight_scale must be float32, got ",
           dtype_name(weight_scale.scalar_type()));
  check_device(kPackedOp, "weight_scale", weight_scale, "input", input);
}

// Runs the kernel into `out`, float32 with channels innermost.
void run_kernel(const Int8WinogradCall& call, Activation activation, std::vector<int64_t>& padding,
                const Tensor& out) {
  const auto map = [&](const char* what, const Tensor& tensor) {
    return as_dense_map(call.op, what, tensor, ScalarType::Float, MapLayout::kNhwc);
  };
  const Tensor input = map("a dense copy of input", call.input);
  const Tensor scale = as_contiguous(call.op, "a copy of weight_scale", call.weight_scale, ScalarType::Float);
  const OptionalTensor bias = contiguous(call.op, "a copy of bias", call.bias),
                       param = contiguous(call.op, "a copy of activation_param", call.activation_param);
  OptionalTensor skip;
  if (call.skip) skip = map("a dense copy of skip", *call.skip);
  // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
  const bool aligned = reinterpret_cast<uintptr_t>(call.packed.const_data_ptr()) % 64 == 0;
  const Tensor packed = aligned ? call.packed
                                : allocate(call.op, "an aligned copy of packed", double(call.packed.numel()),
                                           [&] { return torch::stable::clone(call.packed); });
  Int8WinogradArgs args{};
  args.input = input.const_data_ptr<float>();
  args.packed = packed.const_data_ptr<int8_t>();
  args.weight_scale = scale.const_data_ptr<float>();
  args.bias = data<float>(bias);
  args.skip = data<float>(skip), args.skip_scale = float(call.skip_scale);
  args.out = out.mutable_data_ptr<float>();
  args.activation = activation;
  args.activation_param = data<float>(param), args.activation_params = param ? param->numel() : 0;
  args.batch = input.size(0), args.in_c = input.size(1), args.out_c = call.out_sizes[1];
  args.h = input.size(2), args.w = input.size(3);
  args.pad_h = padding[0], args.pad_w = padding[1];
  try {
    cpu::int8_winograd_conv2d(args);
  } catch (const std::bad_alloc&) {
    fail(call.op, "out of memory: could not allocate scratch memory");
  }
}

Tensor int8_winograd_conv2d_packed(const Tensor& input, const Tensor& packed, int64_t out_channels,
                                   const Tensor& weight_scale, const OptionalTensor& bias,
                                   std::vector<int64_t> padding, const OptionalString& activation,
                                   const OptionalTensor& activation_param, const OptionalTensor& skip,
                                   double skip_scale) {
  check_weight(input, packed, out_channels, weight_scale);
  const std::optional<Tensor> none;
  const std::vector<int64_t> ones = {1, 1}, threes = {3, 3};
  const Like like{kPackedOp, "input", input};
  check_vector(like, "bias", bias, false, out_channels);
  const DirectCall geometry{
      {kPackedOp, input, none, out_channels, activation, activation_param, skip, skip_scale},
      threes,
      ones,
      padding,
      ones,
      1};
  check_sizes(geometry);
  const Activation kind = check_activation(like, activation, activation_param, out_channels);
  const Int8WinogradCall call{kPackedOp,        input, packed,     weight_scale,        bias,
                              activation_param, skip,  skip_scale, geometry.out_sizes()};
  check_skip_map(like, skip, call.out_sizes);
  Tensor out = with_huge_pages(
      empty_map(kPackedOp, "the output", call.out_sizes, MapLayout::kNhwc, ScalarType::Float, input));
  if (out.numel() > 0) run_kernel(call, kind, padding, out);
  return as_dense_map(kPackedOp, "the output", out, input.scalar_type(), suggested_layout(input));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("int8_winograd_conv2d_packed", TORCH_BOX(&int8_winograd_conv2d_packed));
}

}  // namespace greenkernels::ops
