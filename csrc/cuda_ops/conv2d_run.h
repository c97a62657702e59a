// How a checked call of a convolution op runs on CUDA: one layout for its maps, packing, allocation, all of
// it in device memory. Maps of float16 and bfloat16 are converted to float32 and back.
//
// Call is a ConvCall with these members:
//   MapSizes out_sizes();                    of the output
//   int64_t packed_size();                   elements of the packed weight
//   int pack_cuda(const T* weight, T* packed, void* stream);   packs a row-major weight
//   Args cuda_args<T>();                     the kernel's arguments, those filled in that ConvCall does not
//   have int64_t scratch(const Args& args);       elements that the kernel wants int run_cuda(const Args&
//   args, T* scratch, void* stream);  the kernel
// and `Activation check_call(const Call& call)` is a function beside it.
#pragma once

#include "cuda_ops/cuda_call.h"
#include "ops/conv2d_checks.h"

namespace greenkernels::ops {

// Runs the kernel into `out`, which is dense in `layout` and of the type that is computed in.
template <typename T, typename Call>
void run_cuda_as(const Call& call, Activation activation, const Weight& weight, const Tensor& out,
                 MapLayout layout) {
  const CudaCall device(call.op, call.input);
  const ScalarType dtype = call.compute_dtype();
  const Tensor input = device.use(as_dense_map(call.op, "a dense copy of input", call.input, dtype, layout));
  OptionalTensor bias, param, skip, packed;
  if (call.bias) bias = as_contiguous(call.op, "a copy of bias", *call.bias, dtype);
  if (call.activation_param)
    param = as_contiguous(call.op, "a copy of activation_param", *call.activation_param, dtype);
  if (call.skip) skip = as_dense_map(call.op, "a dense copy of skip", *call.skip, dtype, layout);
  if (weight.plain) {
    packed = cuda_memory<T>(call.op, "the packed weight", call.packed_size(), call.input, device);
    const Tensor plain = device.use(as_contiguous(call.op, "a copy of weight", *weight.plain, dtype));
    device.check(call.pack_cuda(static_cast<const T*>(plain.const_data_ptr()),
                                static_cast<T*>(packed->mutable_data_ptr()), device.stream()));
  } else {
    packed = *weight.packed;  // 16-byte aligned, as copies of a slice want it
    if (reinterpret_cast<uintptr_t>(packed->const_data_ptr()) % 16 != 0) {
      packed = allocate(call.op, "an aligned copy of packed", double(packed->numel()) * sizeof(T),
                        [&] { return torch::stable::clone(*weight.packed); });
    }
  }
  for (const OptionalTensor* tensor : {&bias, &param, &skip, &packed}) device.use(*tensor);
  device.use(out);
  const auto data = [](const OptionalTensor& t) {
    return t ? static_cast<const T*>(t->const_data_ptr()) : nullptr;
  };
  auto args = call.template cuda_args<T>();
  args.input = static_cast<const T*>(input.const_data_ptr());
  args.packed = data(packed);
  args.bias = data(bias);
  args.skip = data(skip);
  args.out = static_cast<T*>(out.mutable_data_ptr());
  args.activation = activation;
  args.activation_param = data(param);
  args.activation_params = param ? param->numel() : 0;
  args.skip_scale = call.skip_scale;
  args.input_layout = args.out_layout = layout;
  args.batch = call.input.size(0);
  args.h = call.input.size(2);
  args.w = call.input.size(3);
  const Tensor scratch = cuda_memory<T>(call.op, "scratch memory", call.scratch(args), call.input, device);
  device.check(call.run_cuda(args, static_cast<T*>(scratch.mutable_data_ptr()), device.stream()));
}

template <typename Call>
void run_cuda_into(const Call& call, Activation activation, const Weight& weight, const Tensor& out,
                   MapLayout layout) {
  if (call.compute_dtype() == ScalarType::Double) {
    run_cuda_as<double>(call, activation, weight, out, layout);
  } else {
    run_cuda_as<float>(call, activation, weight, out, layout);
  }
}

// The result as compute_dtype(), in the layout that torch's convolution would choose.
template <typename Call>
Tensor run_cuda(const Call& call, Activation activation, const Weight& weight) {
  const MapLayout layout = suggested_layout(call.input);
  const Tensor out =
      empty_map(call.op, "the output", call.out_sizes(), layout, call.compute_dtype(), call.input);
  if (out.numel() > 0) run_cuda_into(call, activation, weight, out, layout);
  return out;
}

template <typename Call>
Tensor convolve_cuda(const Call& call, const Weight& weight) {
  const Activation activation = check_call(call);
  return as_dtype(call.op, "the output", run_cuda(call, activation, weight), call.input.scalar_type());
}

template <typename Call>
void convolve_cuda_out(const Call& call, const Weight& weight, Tensor out) {
  const Activation activation = check_call(call);
  check_out(call, out, call.out_sizes());
  if (out.numel() == 0) return;
  for (const MapLayout layout : {suggested_layout(out), MapLayout::kNchw, MapLayout::kNhwc}) {
    if (may_write_into(out, layout, call, weight, call.compute_dtype()))
      return run_cuda_into(call, activation, weight, out, layout);
  }
  torch::stable::copy_(out, run_cuda(call, activation, weight));
}

// A packed weight of `size` elements; pack_into(plain, packed, stream) gets two pointers to float or to
// double.
template <typename Pack>
Tensor pack_cuda(const char* op, const Tensor& weight, int64_t size, const Pack& pack_into) {
  const CudaCall device(op, weight);
  const bool is_double = weight.scalar_type() == ScalarType::Double;
  const ScalarType dtype = is_double ? ScalarType::Double : ScalarType::Float;
  const Tensor plain = device.use(as_contiguous(op, "a copy of weight", weight, dtype));
  const auto run = [&](auto type) {
    using T = decltype(type);
    const Tensor packed = cuda_memory<T>(op, "the packed weight", size, plain, device);
    device.check(pack_into(static_cast<const T*>(plain.const_data_ptr()),
                           static_cast<T*>(packed.mutable_data_ptr()), device.stream()));
    return packed;
  };
  return is_double ? run(double()) : run(float());
}

}  // namespace greenkernels::ops
