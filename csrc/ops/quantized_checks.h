// The checks that the ops on quantized numbers share. greenkernels/ops/quantized_checks.py holds the same
// checks in the same words.
#pragma once

#include <optional>
#include <string>

#include "ops/conv2d_checks.h"

namespace greenkernels::ops {

// The argument that others of a call have to go with.
struct Like {
  const char* op;
  const char* name;
  const Tensor& tensor;
};

// One of the vectors beside it: 1-D, float32 unless said otherwise, with 1 or `most` elements; or none.
inline void check_vector(const Like& like, const char* name, const OptionalTensor& vector, bool one_fits,
                         int64_t most, ScalarType dtype = ScalarType::Float) {
  if (!vector) return;
  GK_CHECK(vector->dim() == 1, like.op, name, " must be 1-D, got shape ", ops::shape(*vector));
  GK_CHECK(vector->scalar_type() == dtype, like.op, name, " must be ", dtype_name(dtype), ", got ",
           dtype_name(vector->scalar_type()));
  check_device(like.op, name, *vector, like.name, like.tensor);
  GK_CHECK(vector->size(0) == most || (one_fits && vector->size(0) == 1), like.op, name, " must have ",
           one_fits ? "1 or " : "", most, " elements, got ", vector->size(0));
}

// The activation that a call asks for on n columns or channels, and its parameter.
inline Activation check_activation(const Like& like, const std::optional<std::string>& activation,
                                   const OptionalTensor& param, int64_t n) {
  int kind = 0, index = 0;
  for (const char* name : kActivationNames) {
    if (activation && index > 0 && *activation == name) kind = index;
    ++index;
  }
  GK_CHECK(!activation || kind, like.op, "activation must be one of ", activation_list(), ", got ",
           *activation);
  const bool slopes = kind == int(Activation::kPrelu), takes = slopes || kind == int(Activation::kLeakyRelu);
  GK_CHECK(takes || !param, like.op, "activation_param must be None for ", activation ? *activation : "None",
           ", got shape ", ops::shape(*param));
  GK_CHECK(!takes || param, like.op, "activation_param must be a tensor for ", *activation, ", got None");
  check_vector(like, "activation_param", param, slopes, slopes ? n : 1);
  return static_cast<Activation>(kind);
}

// How the output becomes 8-bit integers, if it does.
inline void check_out_quantizer(const char* op, const std::optional<double>& scale, int64_t zero_point) {
  // Of a denormal there is no reciprocal, and kernels may take it for 0.
  GK_CHECK(!scale || (*scale >= 0x1p-126 && *scale < 3e38), op,
           "out_scale must be a positive normal float32, got ", *scale);
  GK_CHECK(zero_point >= 0 && zero_point <= 255, op, "out_zero_point must be in [0, 255], got ", zero_point);
}

template <typename T>
const T* data(const OptionalTensor& tensor) {
  return tensor ? static_cast<const T*>(tensor->const_data_ptr()) : nullptr;
}

inline OptionalTensor contiguous(const char* op, const char* what, const OptionalTensor& tensor) {
  if (!tensor) return std::nullopt;
  return as_contiguous(op, what, *tensor, tensor->scalar_type());
}

}  // namespace greenkernels::ops
