// The torch side of int8_conv2d: the ops and their registration.
#include "ops/int8_conv2d.h"

#include <torch/csrc/stable/library.h>

#include "cpu/scratch.h"
#include "ops/huge_pages.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kConvOp = "int8_conv2d";
constexpr const char* kPackOp = "int8_conv2d_pack";
constexpr const char* kPackedOp = "int8_conv2d_packed";

using Ints = std::vector<int64_t>;
using OptionalString = std::optional<std::string>;

template <typename T>
const T* data(const OptionalTensor& tensor) {
  return tensor ? static_cast<const T*>(tensor->const_data_ptr()) : nullptr;
}

OptionalTensor contiguous(const char* op, const char* what, const OptionalTensor& tensor) {
  if (!tensor) return std::nullopt;
  return as_contiguous(op, what, *tensor, tensor->scalar_type());
}

// Zero points are data, so only the kernel's side can look at them.
void check_zero_points(const Int8ConvCall& call, const OptionalTensor& zero_point) {
  const int32_t least = call.input_type() == Int8Input::kInt8 ? -128 : 0;
  for (int64_t i = 0; zero_point && i < zero_point->numel(); ++i) {
    const int32_t value = data<int32_t>(zero_point)[i];
    GK_CHECK(value >= least && value <= least + 255, call.op, "input_zero_point must be in [", least, ", ",
             least + 255, "], got ", value);
  }
}

// The sizes of a call; the tensors are filled in by run_kernel.
Int8Conv2dArgs sizes_of(const Int8ConvCall& call) {
  Int8Conv2dArgs args{};
  args.input_type = call.input_type();
  args.filter = call.filter();
  args.batch = call.input.size(0), args.h = call.input.size(2), args.w = call.input.size(3);
  args.out_h = call.out_sizes()[2], args.out_w = call.out_sizes()[3];
  args.pad_h = call.padding[0], args.pad_w = call.padding[1];
  args.stride_h = call.stride[0], args.stride_w = call.stride[1];
  args.dilation_h = call.dilation[0], args.dilation_w = call.dilation[1];
  const double stage =
      double(args.in_c()) * double(args.h + 2 * args.pad_h) * double(args.w + 2 * args.pad_w);
  GK_CHECK(stage < 0x1p46, call.op, "out of memory: the input with its padding has ", stage, " elements");
  return args;
}

// Runs the kernel into `out`, which is dense in `layout` and of the type that the kernel writes.
void run_kernel(const Int8ConvCall& call, Activation activation, const int8_t* packed, const Tensor& out,
                MapLayout layout) {
  const ScalarType dtype = call.is_float() ? ScalarType::Float : call.input.scalar_type();
  Int8Conv2dArgs args = sizes_of(call);
  args.input_layout = readable_layout(call.input);
  args.out_layout = layout;
  const Tensor input = as_dense_map(call.op, "a dense copy of input", call.input, dtype, args.input_layout);
  const OptionalTensor scale = contiguous(call.op, "a copy of input_scale", call.input_scale),
                       weight_scale = contiguous(call.op, "a copy of weight_scale", call.weight_scale),
                       zero_point = contiguous(call.op, "a copy of input_zero_point", call.input_zero_point),
                       bias = contiguous(call.op, "a copy of bias", call.bias),
                       param = contiguous(call.op, "a copy of activation_param", call.activation_param);
  check_zero_points(call, zero_point);
  OptionalTensor skip;
  if (call.skip) skip = as_dense_map(call.op, "a dense copy of skip", *call.skip, ScalarType::Float, layout);
  args.input = input.const_data_ptr();
  args.packed = packed;
  args.input_scale = data<float>(scale), args.input_scales = scale ? scale->numel() : 0;
  args.zero_point = data<int32_t>(zero_point), args.zero_points = zero_point ? zero_point->numel() : 0;
  args.weight_scale = data<float>(weight_scale);
  args.bias = data<float>(bias);
  args.skip = data<float>(skip), args.skip_scale = float(call.skip_scale);
  args.out_scale = float(call.out_scale.value_or(0)), args.out_zero_point = int32_t(call.out_zero_point);
  args.out = out.mutable_data_ptr();
  args.activation = activation;
  args.activation_param = data<float>(param), args.activation_params = param ? param->numel() : 0;
  cpu::int8_conv2d(args);
}

// The filter of a call as the call gives it: of the two, one is set.
struct Int8FilterSource {
  const Tensor* plain = nullptr;   // [out_c, group_in_c, kernel_h, kernel_w]
  const Tensor* packed = nullptr;  // what int8_conv2d_pack returned
};

void pack_into(const char* op, const Tensor& weight, const Int8Filter& filter, int8_t* packed) {
  // Channels innermost, as the kernel reads it.
  const Tensor plain = as_dense_map(op, "a copy of weight", weight, ScalarType::Char, MapLayout::kNhwc);
  cpu::int8_conv2d_pack({plain.const_data_ptr<int8_t>(), packed, filter});
}

void run_into(const Int8ConvCall& call, Activation activation, const Int8FilterSource& weight,
              const Tensor& out, MapLayout layout) {
  const double bytes = double(call.filter().packed_bytes());
  try {
    if (weight.packed) {
      // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
      const bool aligned = reinterpret_cast<uintptr_t>(weight.packed->const_data_ptr()) % 64 == 0;
      const auto copy = [&] { return torch::stable::clone(*weight.packed); };
      const Tensor packed =
          aligned ? *weight.packed : allocate(call.op, "an aligned copy of packed", bytes, copy);
      return run_kernel(call, activation, packed.const_data_ptr<int8_t>(), out, layout);
    }
    const cpu::ScratchLease packed(call.filter().packed_bytes());
    pack_into(call.op, *weight.plain, call.filter(), packed.as<int8_t>());
    run_kernel(call, activation, packed.as<int8_t>(), out, layout);
  } catch (const std::bad_alloc&) {
    fail(call.op, "out of memory: could not allocate scratch memory (the packed weight takes ",
         int64_t(bytes), " bytes)");
  }
}

Tensor run(const Int8ConvCall& call, const Int8FilterSource& weight) {
  const Activation activation = check_call(call);
  const MapLayout layout = call.out_layout();
  const Tensor out = with_huge_pages(
      empty_map(call.op, "the output", call.out_sizes(), layout, call.written_dtype(), call.input));
  if (out.numel() > 0) run_into(call, activation, weight, out, layout);
  return as_dtype(call.op, "the output", out, call.out_dtype());
}

// Both check the filter, and say of it what the rest of the checks need to know.

Int8FilterSource checked_plain(Int8ConvCall& call, const Tensor& weight) {
  check_int8_input(call.op, call.input);
  check_int8_filter(call.op, weight, call.groups);
  GK_CHECK(weight.is_cpu() == call.input.is_cpu(), call.op,
           "weight must be on the device of input, cpu, got another");
  check_groups(call.op, call.groups, call.input.size(1), weight.size(0));
  const int64_t group_in_c = call.input.size(1) / call.groups;
  GK_CHECK(weight.size(1) == group_in_c, call.op, "weight must be [out_channels, ", group_in_c,
           ", kernel_h, kernel_w] for input ", shape(call.input), " and groups ", call.groups, ", got ",
           shape(weight));
  call.out_channels = weight.size(0);
  call.kernel_size = {weight.size(2), weight.size(3)};
  return {&weight, nullptr};
}

Int8FilterSource checked_packed(Int8ConvCall& call, const Tensor& packed, int64_t out_channels,
                                const Ints& kernel_size) {
  check_int8_input(call.op, call.input);
  const auto fits = [](int64_t k) { return k >= 1 && k < (int64_t{1} << 31); };
  GK_CHECK(kernel_size.size() == 2 && fits(kernel_size[0]) && fits(kernel_size[1]), call.op,
           "kernel_size must be two integers in [1, 2^31), got ", shape(kernel_size));
  GK_CHECK(out_channels >= 0 && out_channels < (int64_t{1} << 31), call.op,
           "out_channels must be in [0, 2^31), got ", out_channels);
  check_groups(call.op, call.groups, call.input.size(1), out_channels);
  call.out_channels = out_channels;
  call.kernel_size = kernel_size;
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), call.op,
           "packed must be 1-D and contiguous, got shape ", shape(packed));
  GK_CHECK(packed.scalar_type() == ScalarType::Char, call.op, "packed must be int8, got ",
           dtype_name(packed.scalar_type()));
  GK_CHECK(packed.is_cpu() == call.input.is_cpu(), call.op,
           "packed must be on the device of input, cpu, got another");
  const int64_t bytes = call.filter().packed_bytes();
  GK_CHECK(packed.numel() == bytes, call.op, "packed must have ", bytes, " elements for ", call.input.size(1),
           " -> ", out_channels, " channels, kernel_size ", shape(kernel_size), " and groups ", call.groups,
           ", got ", packed.numel());
  return {nullptr, &packed};
}

// Entry points, in the order of the schemas of greenkernels/ops/int8_conv2d_op.py.

Tensor int8_conv2d_pack(const Tensor& weight, int64_t groups) {
  check_int8_filter(kPackOp, weight, groups);
  const Int8Filter filter{weight.size(0), weight.size(1), weight.size(2), weight.size(3), groups};
  const int64_t bytes = filter.packed_bytes();
  const Tensor packed = allocate(kPackOp, "the packed weight", double(bytes),
                                 [&] { return torch::stable::new_empty(weight, {bytes}); });
  if (bytes > 0) pack_into(kPackOp, weight, filter, packed.mutable_data_ptr<int8_t>());
  return packed;
}

Tensor int8_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& input_scale,
                   const OptionalTensor& weight_scale, const OptionalTensor& input_zero_point,
                   const OptionalTensor& bias, Ints stride, Ints padding, Ints dilation, int64_t groups,
                   const OptionalString& activation, const OptionalTensor& activation_param,
                   const OptionalTensor& skip, double skip_scale, std::optional<double> out_scale,
                   int64_t out_zero_point) {
  Int8ConvCall call{kConvOp, input,      input_scale, weight_scale,  input_zero_point, bias,
                    stride,  padding,    dilation,    groups,        activation,       activation_param,
                    skip,    skip_scale, out_scale,   out_zero_point};
  const Int8FilterSource source = checked_plain(call, weight);
  return run(call, source);
}

Tensor int8_conv2d_packed(const Tensor& input, const Tensor& packed, int64_t out_channels, Ints kernel_size,
                          const OptionalTensor& input_scale, const OptionalTensor& weight_scale,
                          const OptionalTensor& input_zero_point, const OptionalTensor& bias, Ints stride,
                          Ints padding, Ints dilation, int64_t groups, const OptionalString& activation,
                          const OptionalTensor& activation_param, const OptionalTensor& skip,
                          double skip_scale, std::optional<double> out_scale, int64_t out_zero_point) {
  Int8ConvCall call{kPackedOp, input,      input_scale, weight_scale,  input_zero_point, bias,
                    stride,    padding,    dilation,    groups,        activation,       activation_param,
                    skip,      skip_scale, out_scale,   out_zero_point};
  const Int8FilterSource source = checked_packed(call, packed, out_channels, kernel_size);
  return run(call, source);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("int8_conv2d_pack", TORCH_BOX(&int8_conv2d_pack));
  m.impl("int8_conv2d", TORCH_BOX(&int8_conv2d));
  m.impl("int8_conv2d_packed", TORCH_BOX(&int8_conv2d_packed));
}

}  // namespace greenkernels::ops
