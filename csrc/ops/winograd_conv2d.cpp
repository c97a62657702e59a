// The torch side of winograd_conv2d: the layouts its kernels read and write, allocation, registration.
// Float16 and bfloat16 tensors are converted to float32 and back here; the kernels know float and double.
#include "ops/winograd_conv2d.h"

#include <torch/csrc/stable/library.h>

#include "cpu/scratch.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kConvOp = "winograd_conv2d";
constexpr const char* kPackOp = "winograd_conv2d_pack";
constexpr const char* kPackedOp = "winograd_conv2d_packed";

// Runs the kernel into `out`, which is dense in `out_layout` and of type T.
template <typename T>
void run_kernel(const Call& call, Activation activation, const T* packed, const Tensor& out,
                MapLayout out_layout) {
  const ScalarType dtype = call.compute_dtype();
  const MapLayout in_layout = readable_layout(call.input);
  const Tensor input = as_dense_map(call.op, "a dense copy of input", call.input, dtype, in_layout);
  OptionalTensor bias, param, skip;  // keep what the pointers below point to
  if (call.bias) bias = as_contiguous(call.op, "a copy of bias", *call.bias, dtype);
  if (call.activation_param)
    param = as_contiguous(call.op, "a copy of activation_param", *call.activation_param, dtype);
  if (call.skip) skip = as_dense_map(call.op, "a dense copy of skip", *call.skip, dtype, out_layout);
  const auto data = [](const OptionalTensor& t) {
    return t ? static_cast<const T*>(t->const_data_ptr()) : nullptr;
  };
  const MapSizes in = call.in_sizes();
  cpu::winograd_conv2d(WinogradConv2dArgs<T>{
      .input = static_cast<const T*>(input.const_data_ptr()),
      .packed = packed,
      .bias = data(bias),
      .skip = data(skip),
      .out = static_cast<T*>(out.mutable_data_ptr()),
      .activation = activation,
      .activation_param = data(param),
      .activation_params = param ? param->numel() : 0,
      .skip_scale = call.skip_scale,
      .input_layout = in_layout,
      .out_layout = out_layout,
      .batch = in[0],
      .in_c = in[1],
      .out_c = call.out_channels,
      .h = in[2],
      .w = in[3],
      .pad_h = call.padding[0],
      .pad_w = call.padding[1],
      .tile = static_cast<int>(call.tile),
  });
}

template <typename T>
void pack_kernel(const Tensor& weight, T* packed, int64_t tile) {
  cpu::winograd_conv2d_pack(WinogradPackArgs<T>{static_cast<const T*>(weight.const_data_ptr()), packed,
                                                weight.size(0), weight.size(1), static_cast<int>(tile)});
}

// Packs if need be and runs; what torch cannot allocate is reported where it is asked for, here the kernels'
// scratch memory.
template <typename T>
void run_as(const Call& call, Activation activation, const Weight& weight, const Tensor& out,
            MapLayout layout) {
  const double bytes =
      double(winograd_packed_size(call.out_channels, call.input.size(1), int(call.tile))) * sizeof(T);
  try {
    if (weight.packed) {
      // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
      const bool aligned = reinterpret_cast<uintptr_t>(weight.packed->const_data_ptr()) % 64 == 0;
      const auto copy = [&] { return torch::stable::clone(*weight.packed); };
      const Tensor packed =
          aligned ? *weight.packed : allocate(call.op, "an aligned copy of packed", bytes, copy);
      run_kernel(call, activation, static_cast<const T*>(packed.const_data_ptr()), out, layout);
      return;
    }
    const Tensor plain = as_contiguous(call.op, "a copy of weight", *weight.plain, call.compute_dtype());
    const cpu::ScratchLease packed(static_cast<int64_t>(bytes));
    pack_kernel(plain, packed.as<T>(), call.tile);
    run_kernel<T>(call, activation, packed.as<T>(), out, layout);
  } catch (const std::bad_alloc&) {
    fail(call.op, "out of memory: could not allocate scratch memory (the packed weight takes ",
         int64_t(bytes), " bytes)");
  }
}

void run_into(const Call& call, Activation activation, const Weight& weight, const Tensor& out,
              MapLayout layout) {
  if (call.compute_dtype() == ScalarType::Double) {
    run_as<double>(call, activation, weight, out, layout);
  } else {
    run_as<float>(call, activation, weight, out, layout);
  }
}

// Runs into memory of this call's own: the result as compute_dtype(), in the layout that torch's convolution
// would choose.
Tensor run(const Call& call, Activation activation, const Weight& weight) {
  const MapLayout layout = suggested_layout(call.input);
  Tensor out = empty_map(call.op, "the output", call.out_sizes(), layout, call.compute_dtype());
  if (out.numel() > 0) run_into(call, activation, weight, out, layout);
  return out;
}

Tensor convolve(const Call& call, const Weight& weight) {
  const Activation activation = check_call(call);
  return as_dtype(call.op, "the output", run(call, activation, weight), call.input.scalar_type());
}

// Whether the kernel may write into `out` while it reads the arguments. skip is the exception: it may be
// `out` itself.
bool may_write_into(const Tensor& out, MapLayout layout, const Call& call, const Weight& weight) {
  if (out.scalar_type() != call.compute_dtype() || !is_dense(out, layout) || overlaps(out, call.input))
    return false;
  if (weight.packed && overlaps(out, *weight.packed)) return false;
  for (const OptionalTensor* other : {&call.bias, &call.activation_param}) {
    if (*other && overlaps(out, **other)) return false;
  }
  if (!call.skip || !overlaps(out, *call.skip)) return true;
  return call.skip->const_data_ptr() == out.const_data_ptr() && is_dense(*call.skip, layout);
}

void convolve_out(const Call& call, const Weight& weight, Tensor out) {
  const Activation activation = check_call(call);
  check_tensor(call.op, "out", out, 4, call.input.scalar_type(), "input", call.input);
  const MapSizes expected = call.out_sizes(), got = {out.size(0), out.size(1), out.size(2), out.size(3)};
  GK_CHECK(got == expected, call.op, "out must have shape ", shape(expected), ", got ", shape(got));
  for (int d = 0; d < 4; ++d) {
    GK_CHECK(out.stride(d) != 0 || out.size(d) <= 1, call.op,
             "out must not overlap itself, got stride 0 in dimension ", d);
  }
  if (out.numel() == 0) return;
  for (const MapLayout layout : {suggested_layout(out), MapLayout::kNchw, MapLayout::kNhwc}) {
    if (may_write_into(out, layout, call, weight)) return run_into(call, activation, weight, out, layout);
  }
  torch::stable::copy_(out, run(call, activation, weight));
}

// Entry points, in the order of the schemas of greenkernels/ops/winograd_conv2d_op.py.

Tensor winograd_conv2d_pack(const Tensor& weight, int64_t tile) {
  check_pack(kPackOp, weight, tile);
  const bool is_double = weight.scalar_type() == ScalarType::Double;
  const ScalarType dtype = is_double ? ScalarType::Double : ScalarType::Float;
  const Tensor plain = as_contiguous(kPackOp, "a copy of weight", weight, dtype);
  const int64_t size = winograd_packed_size(weight.size(0), weight.size(1), static_cast<int>(tile));
  Tensor packed = allocate(kPackOp, "the packed weight", double(size) * (is_double ? 8 : 4),
                           [&] { return torch::stable::new_empty(plain, {size}); });
  if (size == 0) return packed;
  if (is_double) {
    pack_kernel(plain, packed.mutable_data_ptr<double>(), tile);
  } else {
    pack_kernel(plain, packed.mutable_data_ptr<float>(), tile);
  }
  return packed;
}

Tensor winograd_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                       std::vector<int64_t> padding, int64_t tile,
                       const std::optional<std::string>& activation, const OptionalTensor& activation_param,
                       const OptionalTensor& skip, double skip_scale) {
  GK_CHECK(weight.dim() > 0, kConvOp, "weight must be 4-D, got shape []");
  const Call call{kConvOp,          input, bias,      weight.size(0), padding, tile, activation,
                  activation_param, skip,  skip_scale};
  return convolve(call, checked_weight(call, weight));
}

void winograd_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                         std::vector<int64_t> padding, int64_t tile,
                         const std::optional<std::string>& activation, const OptionalTensor& activation_param,
                         const OptionalTensor& skip, double skip_scale, Tensor out) {
  GK_CHECK(weight.dim() > 0, kConvOp, "weight must be 4-D, got shape []");
  const Call call{kConvOp,          input, bias,      weight.size(0), padding, tile, activation,
                  activation_param, skip,  skip_scale};
  convolve_out(call, checked_weight(call, weight), out);
}

Tensor winograd_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                              int64_t out_channels, std::vector<int64_t> padding, int64_t tile,
                              const std::optional<std::string>& activation,
                              const OptionalTensor& activation_param, const OptionalTensor& skip,
                              double skip_scale) {
  const Call call{kPackedOp,        input, bias,      out_channels, padding, tile, activation,
                  activation_param, skip,  skip_scale};
  return convolve(call, checked_packed(call, packed));
}

void winograd_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                                int64_t out_channels, std::vector<int64_t> padding, int64_t tile,
                                const std::optional<std::string>& activation,
                                const OptionalTensor& activation_param, const OptionalTensor& skip,
                                double skip_scale, Tensor out) {
  const Call call{kPackedOp,        input, bias,      out_channels, padding, tile, activation,
                  activation_param, skip,  skip_scale};
  convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("winograd_conv2d_pack", TORCH_BOX(&winograd_conv2d_pack));
  m.impl("winograd_conv2d", TORCH_BOX(&winograd_conv2d));
  m.impl("winograd_conv2d.out", TORCH_BOX(&winograd_conv2d_out));
  m.impl("winograd_conv2d_packed", TORCH_BOX(&winograd_conv2d_packed));
  m.impl("winograd_conv2d_packed.out", TORCH_BOX(&winograd_conv2d_packed_out));
}

}  // namespace greenkernels::ops
