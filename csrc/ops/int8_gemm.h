// A call of int8_gemm and its checks. greenkernels/ops/int8_gemm_checks.py holds the same checks in the same
// words for fake tensors and for plain torch; tests compare the two.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/int8_gemm.h"
#include "ops/quantized_checks.h"

namespace greenkernels::ops {

// What both variants take beside the weight, named as in the schemas.
struct Int8Call {
  const char* op;
  const Tensor& a;
  const OptionalTensor& row_scale;
  const OptionalTensor& col_scale;
  const OptionalTensor& a_zero_point;
  const OptionalTensor& bias;
  const std::optional<std::string>& activation;
  const OptionalTensor& activation_param;
  std::optional<double> out_scale;
  int64_t out_zero_point;

  Like like() const { return {op, "a", a}; }
  int64_t k() const { return a.size(a.dim() - 1); }
  int64_t m() const {
    int64_t rows = 1;
    for (int64_t d = 0; d + 1 < a.dim(); ++d) rows *= a.size(d);
    return rows;
  }
  bool is_float() const { return a.scalar_type() != ScalarType::Byte && a.scalar_type() != ScalarType::Char; }
  Int8Input input() const {
    return a.scalar_type() == ScalarType::Byte   ? Int8Input::kUint8
           : a.scalar_type() == ScalarType::Char ? Int8Input::kInt8
                                                 : Int8Input::kFloat;
  }
  Int8Output output() const {
    return !col_scale ? Int8Output::kSums : out_scale ? Int8Output::kUint8 : Int8Output::kFloat;
  }
  ScalarType out_dtype() const {
    if (!col_scale) return ScalarType::Int;
    if (out_scale) return ScalarType::Byte;
    return is_float() ? a.scalar_type() : ScalarType::Float;
  }
  // Of what the kernel writes: 16-bit results are converted from float32.
  ScalarType written_dtype() const {
    return output() == Int8Output::kFloat ? ScalarType::Float : out_dtype();
  }
  std::vector<int64_t> out_sizes(int64_t n) const {
    std::vector<int64_t> sizes(a.sizes().begin(), a.sizes().end());
    sizes.back() = n;
    return sizes;
  }
};

inline void check_a(const char* op, const Tensor& a) {
  GK_CHECK(a.dim() >= 1, op, "a must have at least 1 dimension, got shape []");
  const ScalarType dtype = a.scalar_type();
  GK_CHECK(dtype == ScalarType::Byte || dtype == ScalarType::Char || dtype == ScalarType::Half ||
               dtype == ScalarType::BFloat16 || dtype == ScalarType::Float,
           op, "a must be uint8, int8, float16, bfloat16 or float32, got ", dtype_name(dtype));
}

inline void check_depth(const char* op, int64_t k, bool sums) {
  GK_CHECK(k <= kInt8MaxDepth, op, "k must be at most ", kInt8MaxDepth, ", got ", k);
  GK_CHECK(!sums || k <= kInt8Slice, op, "k must be at most ", kInt8Slice,
           " for sums in int32 (without col_scale), got ", k);
}

// Without col_scale the sums themselves are wanted, and nothing that would change them.
inline void check_sums(const Int8Call& call) {
  const auto check_absent = [&](const char* name, bool absent) {
    GK_CHECK(absent, call.op, name, " must be None without col_scale, which asks for the sums, got one");
  };
  GK_CHECK(!call.is_float(), call.op, "a must be uint8 or int8 without col_scale, got ",
           dtype_name(call.a.scalar_type()));
  check_absent("row_scale", !call.row_scale);
  check_absent("bias", !call.bias);
  check_absent("activation", !call.activation);
  check_absent("out_scale", !call.out_scale);
}

inline void check_zero_point(const Int8Call& call) {
  if (!call.a_zero_point) return;
  GK_CHECK(!call.is_float() || call.row_scale, call.op,
           "a_zero_point must be None for a float a without row_scale, got one");
  check_vector(call.like(), "a_zero_point", call.a_zero_point, true, call.m(), ScalarType::Int);
}

// Everything but the weight, of which n is known.
inline Activation check_call(const Int8Call& call, int64_t n) {
  check_depth(call.op, call.k(), !call.col_scale);
  if (!call.col_scale) check_sums(call);
  check_vector(call.like(), "row_scale", call.row_scale, true, call.m());
  GK_CHECK(!call.col_scale || call.is_float() || call.row_scale, call.op,
           "row_scale must be a tensor for an integer a, got None");
  check_vector(call.like(), "col_scale", call.col_scale, false, n);
  check_zero_point(call);
  check_vector(call.like(), "bias", call.bias, false, n);
  check_out_quantizer(call.op, call.out_scale, call.out_zero_point);
  return check_activation(call.like(), call.activation, call.activation_param, n);
}

// The weight of a call as it is; returns its shape.
inline Int8Weight checked_plain(const Int8Call& call, const Tensor& b) {
  check_a(call.op, call.a);
  GK_CHECK(b.dim() == 2, call.op, "b must be 2-D, got shape ", shape(b));
  GK_CHECK(b.scalar_type() == ScalarType::Char, call.op, "b must be int8, got ", dtype_name(b.scalar_type()));
  check_device(call.op, "b", b, "a", call.a);
  GK_CHECK(b.size(1) == call.k(), call.op, "b must be [n, k] with the k of a, ", shape(call.a), ", got ",
           shape(b));
  return {b.size(0), b.size(1)};
}

// The out of a call that writes into one.
inline void check_out(const Int8Call& call, const Tensor& out, const std::vector<int64_t>& sizes) {
  GK_CHECK(out.scalar_type() == call.out_dtype(), call.op, "out must be ", dtype_name(call.out_dtype()),
           ", got ", dtype_name(out.scalar_type()));
  GK_CHECK(std::vector<int64_t>(out.sizes().begin(), out.sizes().end()) == sizes, call.op,
           "out must have shape ", ops::shape(sizes), ", got ", ops::shape(out));
}

// Whether the kernel may write straight into `out`, but for what the weight says.
inline bool writes_directly(const Int8Call& call, const Tensor& out) {
  bool direct = out.is_contiguous() && out.scalar_type() == call.written_dtype() && !overlaps(out, call.a);
  for (const OptionalTensor* tensor :
       {&call.row_scale, &call.col_scale, &call.a_zero_point, &call.bias, &call.activation_param}) {
    direct &= !*tensor || !overlaps(out, **tensor);
  }
  return direct;
}

}  // namespace greenkernels::ops
