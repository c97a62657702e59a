// The torch side of int4_gemm: checks and registration. greenkernels/ops/int4_gemm_checks.py holds the same
// checks in the same words for fake tensors and for plain torch; tests compare the two.
#include "api/int4_gemm.h"

#include <torch/csrc/stable/library.h>

#include "api/int8_gemm.h"
#include "cpu/huge_pages.h"
#include "cpu/scratch.h"
#include "ops/quantized_checks.h"

namespace greenkernels::ops {
namespace {

using OptionalString = std::optional<std::string>;

// What both variants take beside the weight, named as in the schemas.
struct Int4Call {
  const char* op;
  const Tensor& a;
  const OptionalTensor& bias;
  const OptionalString& activation;
  const OptionalTensor& activation_param;
};

void check_group(const char* op, int64_t group, int64_t k) {
  GK_CHECK(int4_group_fits(group), op, "group must be 32, 64 or 128, got ", group);
  GK_CHECK(k <= kInt8MaxDepth, op, "k must be at most ", kInt8MaxDepth, ", got ", k);
}

void check_a4(const char* op, const Tensor& a) {
  GK_CHECK(a.dim() >= 1, op, "a must have at least 1 dimension, got shape []");
  const ScalarType dtype = a.scalar_type();
  GK_CHECK(dtype == ScalarType::Half || dtype == ScalarType::BFloat16 || dtype == ScalarType::Float, op,
           "a must be float16, bfloat16 or float32, got ", dtype_name(dtype));
}

// b and scale, of which the shape is returned.
Int4Weight check_weight(const char* op, const Tensor& b, const Tensor& scale, int64_t group) {
  GK_CHECK(b.dim() == 2, op, "b must be 2-D, got shape ", shape(b));
  GK_CHECK(b.scalar_type() == ScalarType::Char, op, "b must be int8, got ", dtype_name(b.scalar_type()));
  check_group(op, group, b.size(1));
  const Int4Weight weight{b.size(0), b.size(1), group};
  GK_CHECK(scale.dim() == 2 && scale.size(0) == weight.n && scale.size(1) == weight.groups(), op,
           "scale must have shape [", weight.n, ", ", weight.groups(), "], got ", shape(scale));
  GK_CHECK(scale.scalar_type() == ScalarType::Float, op, "scale must be float32, got ",
           dtype_name(scale.scalar_type()));
  check_device(op, "scale", scale, "b", b);
  return weight;
}

// The values are data, so only the kernel's side can look at them.
void pack_into(const char* op, const Tensor& b, const Tensor& scale, const Int4Weight& weight,
               uint8_t* packed) {
  const Tensor values = as_contiguous(op, "a copy of b", b, ScalarType::Char);
  const Tensor scales = as_contiguous(op, "a copy of scale", scale, ScalarType::Float);
  const auto* data = values.const_data_ptr<int8_t>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    GK_CHECK(data[i] >= -8 && data[i] <= 7, op, "b must be in [-8, 7], got ", int(data[i]));
  }
  cpu::int4_gemm_pack({data, scales.const_data_ptr<float>(), packed, weight});
}

Tensor run(const Int4Call& call, const uint8_t* packed, const Int4Weight& weight) {
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
    cpu::int4_gemm({a.const_data_ptr<float>(), packed, data<float>(bias), activation, data<float>(param),
                    param ? param->numel() : 0, out.mutable_data_ptr<float>(), m, weight});
  }
  return as_dtype(call.op, "the output", out, call.a.scalar_type());
}

// Calls body, and says what was too large where memory runs out.
template <typename Body>
auto within_memory(const char* op, const Int4Weight& weight, const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    fail(op, "out of memory: could not allocate scratch memory (the packed weight takes ",
         weight.packed_bytes(), " bytes)");
  }
}

// Entry points, in the order of the schemas of greenkernels/ops/int4_gemm_op.py.

Tensor int4_gemm(const Tensor& a, const Tensor& b, const Tensor& scale, int64_t group,
                 const OptionalTensor& bias, const OptionalString& activation,
                 const OptionalTensor& activation_param) {
  constexpr const char* kOp = "int4_gemm";
  check_a4(kOp, a);
  const Int4Weight weight = check_weight(kOp, b, scale, group);
  check_device(kOp, "b", b, "a", a);
  GK_CHECK(weight.k == a.size(a.dim() - 1), kOp, "b must be [n, k] with the k of a, ", shape(a), ", got ",
           shape(b));
  return within_memory(kOp, weight, [&] {
    const cpu::ScratchLease packed(weight.packed_bytes());
    pack_into(kOp, b, scale, weight, packed.as<uint8_t>());
    return run({kOp, a, bias, activation, activation_param}, packed.as<uint8_t>(), weight);
  });
}

Tensor int4_gemm_packed(const Tensor& a, const Tensor& packed, int64_t n, int64_t group,
                        const OptionalTensor& bias, const OptionalString& activation,
                        const OptionalTensor& activation_param) {
  constexpr const char* kOp = "int4_gemm_packed";
  check_a4(kOp, a);
  const Int4Weight weight{n, a.size(a.dim() - 1), group};
  check_group(kOp, group, weight.k);
  GK_CHECK(n >= 0 && n < (int64_t{1} << 31), kOp, "n must be in [0, 2^31), got ", n);
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), kOp, "packed must be 1-D and contiguous, got shape ",
           shape(packed));
  GK_CHECK(packed.scalar_type() == ScalarType::Byte, kOp, "packed must be uint8, got ",
           dtype_name(packed.scalar_type()));
  check_device(kOp, "packed", packed, "a", a);
  GK_CHECK(packed.numel() == weight.packed_bytes(), kOp, "packed must have ", weight.packed_bytes(),
           " elements for n = ", n, ", k = ", weight.k, " and group = ", group, ", got ", packed.numel());
  return within_memory(kOp, weight, [&] {
    // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
    const bool aligned = reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 64 == 0;
    const auto copy = [&] { return torch::stable::clone(packed); };
    const Tensor used =
        aligned ? packed : allocate(kOp, "an aligned copy of packed", double(weight.packed_bytes()), copy);
    return run({kOp, a, bias, activation, activation_param}, used.const_data_ptr<uint8_t>(), weight);
  });
}

Tensor int4_gemm_pack(const Tensor& b, const Tensor& scale, int64_t group) {
  constexpr const char* kOp = "int4_gemm_pack";
  const Int4Weight weight = check_weight(kOp, b, scale, group);
  Tensor packed = allocate(kOp, "the packed weight", double(weight.packed_bytes()), [&] {
    return torch::stable::new_empty(b, {weight.packed_bytes()}, ScalarType::Byte);
  });
  if (weight.packed_bytes() > 0) {
    cpu::prefer_huge_pages(packed.mutable_data_ptr(), weight.packed_bytes());
    pack_into(kOp, b, scale, weight, packed.mutable_data_ptr<uint8_t>());
  }
  return packed;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("int4_gemm", TORCH_BOX(&int4_gemm));
  m.impl("int4_gemm_packed", TORCH_BOX(&int4_gemm_packed));
  m.impl("int4_gemm_pack", TORCH_BOX(&int4_gemm_pack));
}

}  // namespace greenkernels::ops
