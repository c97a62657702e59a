// What the calls of all matrix product ops share on every device: checks, layouts, allocation.
// greenkernels/ops/gemm_checks.py holds the same checks in the same order and words for fake tensors and for
// plain torch; tests compare the two. Float16 and bfloat16 tensors are converted to float32 and back here.
#pragma once

#include "api/sgemm.h"

#include <optional>
#include <string>

#include "ops/checks.h"
#include "ops/conv2d_checks.h"

namespace greenkernels::ops {

// a [m, k] times b [n, k]; b is absent where it is packed.
struct GemmCall {
  const char* op;
  const Tensor& a;
  int64_t n;
  const OptionalTensor& bias;
  const std::optional<std::string>& activation;
  const OptionalTensor& activation_param;

  ScalarType compute_dtype() const {
    return a.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  }
};

inline void check_a(const char* op, const Tensor& a, int64_t dim) {
  GK_CHECK(a.dim() == dim, op, "a must be ", dim, "-D, got shape ", shape(a));
  check_float(op, "a", a);
}

inline void check_b(const char* op, const Tensor& a, const Tensor& b, int64_t dim) {
  check_tensor(op, "b", b, dim, a.scalar_type(), "a", a);
  GK_CHECK(b.size(dim - 1) == a.size(dim - 1), op, "b must be [..., n, ", a.size(dim - 1), "] for a ",
           shape(a), ", got ", shape(b));
}

// Bias and activation.
inline Activation check_epilogue(const GemmCall& call) {
  if (call.bias) {
    check_tensor(call.op, "bias", *call.bias, 1, call.a.scalar_type(), "a", call.a);
    GK_CHECK(call.bias->size(0) == call.n, call.op, "bias must have ", call.n, " elements, got ",
             call.bias->size(0));
  }
  const OptionalTensor none;
  const OptionalTensor& param = call.activation_param;
  const Activation activation =
      parse_activation({call.op, call.a, none, call.n, call.activation, none, none, 1.0});
  if (activation != Activation::kLeakyRelu && activation != Activation::kPrelu) {
    GK_CHECK(!param, call.op, "activation_param must be None for ",
             call.activation ? *call.activation : "None", ", got shape ", ops::shape(*param));
    return activation;
  }
  GK_CHECK(param, call.op, "activation_param must be a tensor for ", *call.activation, ", got None");
  check_tensor(call.op, "activation_param", *param, param->dim(), call.a.scalar_type(), "a", call.a);
  const bool one = param->numel() == 1, many = activation == Activation::kPrelu && param->numel() == call.n;
  GK_CHECK(one || many, call.op, "activation_param must have 1 ",
           activation == Activation::kPrelu ? "or " + std::to_string(call.n) + " elements for prelu"
                                            : std::string("element for leaky_relu"),
           ", got ", param->numel());
  return activation;
}

inline void check_packed_b(const GemmCall& call, const Tensor& packed, int64_t expected) {
  GK_CHECK(call.n >= 0 && call.n < (int64_t{1} << 31), call.op, "n must be in [0, 2^31), got ", call.n);
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), call.op,
           "packed must be 1-D and contiguous, got shape ", shape(packed));
  GK_CHECK(packed.scalar_type() == call.compute_dtype(), call.op, "packed must be ",
           dtype_name(call.compute_dtype()), " for ", dtype_name(call.a.scalar_type()), " a, got ",
           dtype_name(packed.scalar_type()));
  check_device(call.op, "packed", packed, "a", call.a);
  GK_CHECK(packed.numel() == expected, call.op, "packed must have ", expected, " elements for n = ", call.n,
           " and k = ", call.a.size(1), ", got ", packed.numel());
}

// The out of a call that writes into one.
inline void check_out(const GemmCall& call, const Tensor& out) {
  check_tensor(call.op, "out", out, 2, call.a.scalar_type(), "a", call.a);
  GK_CHECK(out.size(0) == call.a.size(0) && out.size(1) == call.n, call.op, "out must have shape [",
           call.a.size(0), ", ", call.n, "], got ", shape(out));
  for (int d = 0; d < 2; ++d) {
    GK_CHECK(out.stride(d) != 0 || out.size(d) <= 1, call.op,
             "out must not overlap itself, got stride 0 in dimension ", d);
  }
}

// Whether a kernel may write a result of the compute type straight into `out`: rows of its own, no input in
// them.
inline bool writes_directly(const GemmCall& call, const Tensor& b, const Tensor& out) {
  const auto apart = [&](const OptionalTensor& x) { return !x || !overlaps(out, *x); };
  const bool rows = out.stride(1) == 1 && (out.size(0) == 1 || out.stride(0) >= out.size(1));
  return rows && out.scalar_type() == call.compute_dtype() && !overlaps(out, call.a) && !overlaps(out, b) &&
         apart(call.bias) && apart(call.activation_param);
}

// A matrix, or a batch of them, as the kernels read it: of the compute type, with stride 1 in one of the last
// two dimensions. The copy that this may take is row-major.
inline Tensor readable_matrix(const char* op, const char* what, const Tensor& x, ScalarType dtype) {
  const Tensor typed = as_dtype(op, what, x, dtype);
  const int64_t rows = typed.dim() - 2, columns = typed.dim() - 1;
  if (typed.stride(columns) == 1 || typed.stride(rows) == 1) return typed;
  if (typed.is_contiguous()) return typed;
  return allocate(op, what, double(typed.numel()) * double(typed.element_size()),
                  [&] { return torch::stable::contiguous(typed); });
}

struct MatrixStrides {
  int64_t batch, row, depth;
};

// The stride of a dimension of size 1 is never used, so it may be taken as is, unless neither is 1.
inline MatrixStrides strides_of(const Tensor& x) {
  const int64_t d = x.dim();
  MatrixStrides strides{d == 3 ? x.stride(0) : 0, x.stride(d - 2), x.stride(d - 1)};
  if (strides.row != 1 && strides.depth != 1) strides.depth = 1;
  return strides;
}

inline Tensor empty_matrix(const char* op, const Tensor& like, std::initializer_list<int64_t> sizes,
                           ScalarType dtype) {
  double bytes = dtype == ScalarType::Double ? 8 : 4;
  for (const int64_t size : sizes) bytes *= double(size);
  return allocate(op, "the output", bytes, [&] { return torch::stable::new_empty(like, sizes, dtype); });
}

// The epilogue's tensors as the kernel reads them; keeps them alive.
struct GemmEpilogue {
  OptionalTensor bias, param;
  GemmEpilogue(const GemmCall& call) {
    const ScalarType dtype = call.compute_dtype();
    if (call.bias) bias = as_contiguous(call.op, "a copy of bias", *call.bias, dtype);
    if (call.activation_param)
      param = as_contiguous(call.op, "a copy of activation_param", *call.activation_param, dtype);
  }
  template <typename T>
  void fill(SgemmArgs<T>& args, Activation activation) const {
    args.bias = bias ? static_cast<const T*>(bias->const_data_ptr()) : nullptr;
    args.activation = activation;
    args.activation_param = param ? static_cast<const T*>(param->const_data_ptr()) : nullptr;
    args.activation_params = param ? param->numel() : 0;
  }
};

// Arguments for a [batch, m, k] or [m, k] and an output of the same rank.
template <typename T>
SgemmArgs<T> gemm_args(const Tensor& a, const Tensor& out) {
  SgemmArgs<T> args{};
  const MatrixStrides a_strides = strides_of(a), out_strides = strides_of(out);
  const int64_t d = a.dim();
  args.a = static_cast<const T*>(a.const_data_ptr());
  args.out = static_cast<T*>(out.mutable_data_ptr());
  args.batch = d == 3 ? a.size(0) : 1;
  args.m = a.size(d - 2);
  args.n = out.size(d - 1);
  args.k = a.size(d - 1);
  args.a_batch = a_strides.batch, args.a_row = a_strides.row, args.a_depth = a_strides.depth;
  args.out_batch = out_strides.batch, args.out_row = out_strides.row;
  return args;
}

template <typename T>
void set_b(SgemmArgs<T>& args, const Tensor& b) {
  const MatrixStrides strides = strides_of(b);
  args.b = static_cast<const T*>(b.const_data_ptr());
  args.b_batch = strides.batch, args.b_row = strides.row, args.b_depth = strides.depth;
}

// Calls run(float()) or run(double()).
template <typename Run>
void with_compute_type(ScalarType dtype, const Run& run) {
  dtype == ScalarType::Double ? run(double()) : run(float());
}

}  // namespace greenkernels::ops
