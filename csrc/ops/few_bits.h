// What the torch sides of kernels with weights of a few bits share: checks of what comes beside the weight,
// the output, what is said where memory runs out.
#pragma once

#include <new>
#include <string>
#include <vector>

#include "cpu/huge_pages.h"
#include "ops/quantized_checks.h"

namespace greenkernels::ops {

using OptionalString = std::optional<std::string>;

// What these ops take beside the weight, named as in the schemas.
struct FewBitCall {
  const char* op;
  const Tensor& a;
  const OptionalTensor& bias;
  const OptionalString& activation;
  const OptionalTensor& activation_param;
};

inline void check_few_bit_a(const char* op, const Tensor& a) {
  GK_CHECK(a.dim() >= 1, op, "a must have at least 1 dimension, got shape []");
  const ScalarType dtype = a.scalar_type();
  GK_CHECK(dtype == ScalarType::Half || dtype == ScalarType::BFloat16 || dtype == ScalarType::Float, op,
           "a must be float16, bfloat16 or float32, got ", dtype_name(dtype));
}

// That scale has one number for each group of each row of b.
template <typename Weight>
void check_group_scale(const char* op, const Tensor& b, const Tensor& scale, const Weight& weight) {
  GK_CHECK(scale.dim() == 2 && scale.size(0) == weight.n && scale.size(1) == weight.groups(), op,
           "scale must have shape [", weight.n, ", ", weight.groups(), "], got ", shape(scale));
  GK_CHECK(scale.scalar_type() == ScalarType::Float, op, "scale must be float32, got ",
           dtype_name(scale.scalar_type()));
  check_device(op, "scale", scale, "b", b);
}

// What the size of a packed weight follows from.
template <typename Weight>
std::string sizes_text(const Weight& weight) {
  std::string text = "n = " + std::to_string(weight.n) + ", k = " + std::to_string(weight.k);
  const std::string group = std::to_string(weight.group);
  if constexpr (requires { weight.bits; }) {
    return text + ", group = " + group + " and bits = " + std::to_string(weight.bits);
  }
  return text + " and group = " + group;
}

// That packed is what packing gave for this weight.
template <typename Weight>
void check_few_bit_packed(const FewBitCall& call, const Tensor& packed, const Weight& weight) {
  GK_CHECK(weight.n >= 0 && weight.n < (int64_t{1} << 31), call.op, "n must be in [0, 2^31), got ", weight.n);
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), call.op,
           "packed must be 1-D and contiguous, got shape ", shape(packed));
  GK_CHECK(packed.scalar_type() == ScalarType::Byte, call.op, "packed must be uint8, got ",
           dtype_name(packed.scalar_type()));
  check_device(call.op, "packed", packed, "a", call.a);
  GK_CHECK(packed.numel() == weight.packed_bytes(), call.op, "packed must have ", weight.packed_bytes(),
           " elements for ", sizes_text(weight), ", got ", packed.numel());
}

// kernel(Args) on the tensors of a call, into a new one.
template <typename Args, typename Packed, typename Weight>
Tensor run_few_bits(const FewBitCall& call, const Packed* packed, const Weight& weight,
                    void (*kernel)(const Args&)) {
  const Like like{call.op, "a", call.a};
  check_vector(like, "bias", call.bias, false, weight.n);
  const Activation activation = check_activation(like, call.activation, call.activation_param, weight.n);
  std::vector<int64_t> sizes(call.a.sizes().begin(), call.a.sizes().end());
  int64_t m = 1;
  for (size_t d = 0; d + 1 < sizes.size(); ++d) m *= sizes[d];
  sizes.back() = weight.n;
  const Tensor out = allocate(call.op, "the output", 4.0 * double(m) * double(weight.n), [&] {
    return torch::stable::new_empty(call.a, IntHeaderOnlyArrayRef(sizes.data(), sizes.size()),
                                    ScalarType::Float);
  });
  if (out.numel() > 0) {
    cpu::prefer_huge_pages(out.mutable_data_ptr(), out.numel() * 4);
    const Tensor a = as_contiguous(call.op, "a copy of a", call.a, ScalarType::Float);
    const OptionalTensor bias = contiguous(call.op, "a copy of bias", call.bias),
                         param = contiguous(call.op, "a copy of activation_param", call.activation_param);
    kernel({a.const_data_ptr<float>(), packed, data<float>(bias), activation, data<float>(param),
            param ? param->numel() : 0, out.mutable_data_ptr<float>(), m, weight});
  }
  return as_dtype(call.op, "the output", out, call.a.scalar_type());
}

// The same on a packed tensor, which is copied where it is not 64-byte aligned: memory of torch is, a view or
// a mapped file need not be.
template <typename Args, typename Weight>
Tensor run_few_bits(const FewBitCall& call, const Tensor& packed, const Weight& weight,
                    void (*kernel)(const Args&)) {
  const bool aligned = reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 64 == 0;
  const auto copy = [&] { return torch::stable::clone(packed); };
  const Tensor used =
      aligned ? packed : allocate(call.op, "an aligned copy of packed", double(weight.packed_bytes()), copy);
  return run_few_bits(call, used.const_data_ptr<uint8_t>(), weight, kernel);
}

// A new packed tensor beside `like`, filled by fill(its memory).
template <typename Weight, typename Fill>
Tensor new_few_bit_packed(const char* op, const Tensor& like, const Weight& weight, const Fill& fill) {
  Tensor packed = allocate(op, "the packed weight", double(weight.packed_bytes()), [&] {
    return torch::stable::new_empty(like, {weight.packed_bytes()}, ScalarType::Byte);
  });
  if (weight.packed_bytes() > 0) {
    cpu::prefer_huge_pages(packed.mutable_data_ptr(), weight.packed_bytes());
    fill(packed.mutable_data_ptr<uint8_t>());
  }
  return packed;
}

// Calls body, and says what was too large where memory runs out.
template <typename Weight, typename Body>
auto within_memory(const char* op, const Weight& weight, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    fail(op, "out of memory: could not allocate scratch memory (the packed weight takes ",
         weight.packed_bytes(), " bytes)");
  }
}

}  // namespace greenkernels::ops
