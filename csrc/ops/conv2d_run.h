// How a checked call of a convolution op runs: the layouts its kernel reads and writes, packing, allocation.
// Maps of float16 and bfloat16 go to the kernel as they are where it takes them (kHalfMaps), else converted
// to float32 and back; weight, bias and slopes are float32 to every kernel.
//
// Call is a ConvCall with these members:
//   MapSizes out_sizes();                    of the output
//   int64_t packed_size();                   elements of the packed weight
//   void pack(const T* weight, T* packed);   packs a row-major weight
//   Args args<T>();                          the kernel's arguments, those filled in that ConvCall does not
//   have; args<T, S>() for maps of S, where kHalfMaps
//   static void run(const Args& args);       the kernel
// and `Activation check_call(const Call& call)` is a function beside it.
#pragma once

#include "cpu/scratch.h"
#include "ops/conv2d_checks.h"
#include "ops/huge_pages.h"
#include "ops/kept_output.h"

namespace greenkernels::ops {

// The type of the maps that the kernel of this call reads and writes.
template <typename Call>
ScalarType map_dtype(const Call& call) {
  return Call::kHalfMaps ? call.input.scalar_type() : call.compute_dtype();
}

template <typename T, typename S, typename Call>
auto kernel_args(const Call& call) {
  if constexpr (Call::kHalfMaps) {
    return call.template args<T, S>();
  } else {
    return call.template args<T>();
  }
}

// Runs the kernel, which computes in T, into `out`, which is dense in `out_layout` and of type S like all
// maps.
template <typename T, typename S, typename Call>
void run_kernel(const Call& call, Activation activation, const T* packed, const Tensor& out,
                MapLayout out_layout) {
  const ScalarType dtype = call.compute_dtype(), maps = map_dtype(call);
  const MapLayout in_layout = readable_layout(call.input);
  const Tensor input = as_dense_map(call.op, "a dense copy of input", call.input, maps, in_layout);
  OptionalTensor bias, param, skip;  // keep what the pointers below point to
  if (call.bias) bias = as_contiguous(call.op, "a copy of bias", *call.bias, dtype);
  if (call.activation_param)
    param = as_contiguous(call.op, "a copy of activation_param", *call.activation_param, dtype);
  if (call.skip) skip = as_dense_map(call.op, "a dense copy of skip", *call.skip, maps, out_layout);
  const auto data = [](const OptionalTensor& t) {
    return t ? static_cast<const T*>(t->const_data_ptr()) : nullptr;
  };
  auto args = kernel_args<T, S>(call);
  args.input = static_cast<const S*>(input.const_data_ptr());
  args.packed = packed;
  args.bias = data(bias);
  args.skip = skip ? static_cast<const S*>(skip->const_data_ptr()) : nullptr;
  args.out = static_cast<S*>(out.mutable_data_ptr());
  args.activation = activation;
  args.activation_param = data(param);
  args.activation_params = param ? param->numel() : 0;
  args.skip_scale = call.skip_scale;
  args.input_layout = in_layout;
  args.out_layout = out_layout;
  args.batch = call.input.size(0);
  args.h = call.input.size(2);
  args.w = call.input.size(3);
  Call::run(args);
}

// Packs if need be and runs; what torch cannot allocate is reported where it is asked for, here the kernels'
// scratch memory.
template <typename T, typename S, typename Call>
void run_as(const Call& call, Activation activation, const Weight& weight, const Tensor& out,
            MapLayout layout) {
  const double bytes = double(call.packed_size()) * sizeof(T);
  try {
    if (weight.packed) {
      // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
      const bool aligned = reinterpret_cast<uintptr_t>(weight.packed->const_data_ptr()) % 64 == 0;
      const auto copy = [&] { return torch::stable::clone(*weight.packed); };
      const Tensor packed =
          aligned ? *weight.packed : allocate(call.op, "an aligned copy of packed", bytes, copy);
      run_kernel<T, S>(call, activation, static_cast<const T*>(packed.const_data_ptr()), out, layout);
      return;
    }
    const Tensor plain = as_contiguous(call.op, "a copy of weight", *weight.plain, call.compute_dtype());
    const cpu::ScratchLease packed(static_cast<int64_t>(bytes));
    call.pack(static_cast<const T*>(plain.const_data_ptr()), packed.as<T>());
    run_kernel<T, S>(call, activation, packed.as<T>(), out, layout);
  } catch (const std::bad_alloc&) {
    fail(call.op, "out of memory: could not allocate scratch memory (the packed weight takes ",
         int64_t(bytes), " bytes)");
  }
}

template <typename Call>
void run_into(const Call& call, Activation activation, const Weight& weight, const Tensor& out,
              MapLayout layout) {
  if (call.compute_dtype() == ScalarType::Double)
    return run_as<double, double>(call, activation, weight, out, layout);
  if constexpr (Call::kHalfMaps) {
    if (map_dtype(call) == ScalarType::BFloat16)
      return run_as<float, BFloat16>(call, activation, weight, out, layout);
    if (map_dtype(call) == ScalarType::Half)
      return run_as<float, Float16>(call, activation, weight, out, layout);
  }
  run_as<float, float>(call, activation, weight, out, layout);
}

// Runs into memory of this call's own: the result as map_dtype(), in the layout that torch's convolution
// would choose.
template <typename Call>
Tensor run(const Call& call, Activation activation, const Weight& weight) {
  const MapLayout layout = suggested_layout(call.input);
  const Tensor out = output_map(call.op, call.out_sizes(), layout, map_dtype(call), call.input);
  if (out.numel() > 0) run_into(call, activation, weight, out, layout);
  return out;
}

template <typename Call>
Tensor convolve(const Call& call, const Weight& weight) {
  const Activation activation = check_call(call);
  return as_dtype(call.op, "the output", run(call, activation, weight), call.input.scalar_type());
}

template <typename Call>
void convolve_out(const Call& call, const Weight& weight, Tensor out) {
  const Activation activation = check_call(call);
  check_out(call, out, call.out_sizes());
  if (out.numel() == 0) return;
  for (const MapLayout layout : {suggested_layout(out), MapLayout::kNchw, MapLayout::kNhwc}) {
    if (may_write_into(out, layout, call, weight, map_dtype(call)))
      return run_into(call, activation, weight, out, layout);
  }
  torch::stable::copy_(out, run(call, activation, weight));
}

// The part of a Device (<stem>_entries.h) that all stems have in common.
struct CpuConvolution {
  template <typename Call>
  static Tensor convolve(const Call& call, const Weight& weight) {
    return ops::convolve(call, weight);
  }
  template <typename Call>
  static void convolve_out(const Call& call, const Weight& weight, Tensor out) {
    ops::convolve_out(call, weight, out);
  }
};

// A packed weight of `size` elements; pack_into(plain, packed) gets two pointers to float or to double.
template <typename Pack>
Tensor pack(const char* op, const Tensor& weight, int64_t size, const Pack& pack_into) {
  const bool is_double = weight.scalar_type() == ScalarType::Double;
  const ScalarType dtype = is_double ? ScalarType::Double : ScalarType::Float;
  const Tensor plain = as_contiguous(op, "a copy of weight", weight, dtype);
  Tensor packed = allocate(op, "the packed weight", double(size) * (is_double ? 8 : 4),
                           [&] { return torch::stable::new_empty(plain, {size}); });
  if (size == 0) return packed;
  with_huge_pages(packed);
  if (is_double) {
    pack_into(plain.const_data_ptr<double>(), packed.mutable_data_ptr<double>());
  } else {
    pack_into(plain.const_data_ptr<float>(), packed.mutable_data_ptr<float>());
  }
  return packed;
}

}  // namespace greenkernels::ops
