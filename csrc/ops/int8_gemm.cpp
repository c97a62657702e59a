// The torch side of int8_gemm: the ops and their registration.
#include "ops/int8_gemm.h"

#include <torch/csrc/stable/library.h>

#include "cpu/huge_pages.h"
#include "cpu/scratch.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kGemmOp = "int8_gemm";
constexpr const char* kPackOp = "int8_gemm_pack";
constexpr const char* kPackedOp = "int8_gemm_packed";

using OptionalString = std::optional<std::string>;
using OptionalDouble = std::optional<double>;

// Zero points are data, so only the kernel's side can look at them.
void check_zero_points(const Int8Call& call, const OptionalTensor& zero_point) {
  if (!zero_point) return;
  const int32_t least = call.input() == Int8Input::kInt8 ? -128 : 0;
  for (int64_t i = 0; i < zero_point->numel(); ++i) {
    const int32_t value = data<int32_t>(zero_point)[i];
    GK_CHECK(value >= least && value <= least + 255, call.op, "a_zero_point must be in [", least, ", ",
             least + 255, "], got ", value);
  }
}

// Runs the kernel into `out`, which is contiguous and of the type that the kernel writes.
void run_kernel(const Int8Call& call, Activation activation, const int8_t* packed, const Int8Weight& shape,
                const Tensor& out) {
  const ScalarType dtype = call.is_float() ? ScalarType::Float : call.a.scalar_type();
  const Tensor a = as_contiguous(call.op, "a copy of a", call.a, dtype);
  const OptionalTensor row_scale = contiguous(call.op, "a copy of row_scale", call.row_scale),
                       col_scale = contiguous(call.op, "a copy of col_scale", call.col_scale),
                       zero_point = contiguous(call.op, "a copy of a_zero_point", call.a_zero_point),
                       bias = contiguous(call.op, "a copy of bias", call.bias),
                       param = contiguous(call.op, "a copy of activation_param", call.activation_param);
  check_zero_points(call, zero_point);
  Int8GemmArgs args{};
  args.a = a.const_data_ptr();
  args.packed = packed;
  args.row_scale = data<float>(row_scale);
  args.row_scales = row_scale ? row_scale->numel() : 0;
  args.zero_point = data<int32_t>(zero_point);
  args.zero_points = zero_point ? zero_point->numel() : 0;
  args.epilogue = {data<float>(col_scale),      data<float>(bias),          activation,
                   data<float>(param),          param ? param->numel() : 0, float(call.out_scale.value_or(0)),
                   int32_t(call.out_zero_point)};
  args.out = out.mutable_data_ptr();
  args.input = call.input();
  args.output = call.output();
  args.m = call.m();
  args.shape = shape;
  cpu::int8_gemm(args);
}

// The weight of a call as the call gives it: of the two, one is set.
struct Int8Source {
  const Tensor* plain = nullptr;   // [n, k]
  const Tensor* packed = nullptr;  // what int8_gemm_pack returned
};

void run_into(const Int8Call& call, Activation activation, const Int8Source& weight, const Int8Weight& shape,
              const Tensor& out) {
  const double bytes = double(shape.packed_bytes());
  try {
    if (weight.packed) {
      // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
      const bool aligned = reinterpret_cast<uintptr_t>(weight.packed->const_data_ptr()) % 64 == 0;
      const auto copy = [&] { return torch::stable::clone(*weight.packed); };
      const Tensor packed =
          aligned ? *weight.packed : allocate(call.op, "an aligned copy of packed", bytes, copy);
      return run_kernel(call, activation, packed.const_data_ptr<int8_t>(), shape, out);
    }
    const Tensor plain = as_contiguous(call.op, "a copy of b", *weight.plain, ScalarType::Char);
    const cpu::ScratchLease packed(shape.packed_bytes());
    cpu::int8_gemm_pack({plain.const_data_ptr<int8_t>(), packed.as<int8_t>(), shape});
    run_kernel(call, activation, packed.as<int8_t>(), shape, out);
  } catch (const std::bad_alloc&) {
    fail(call.op, "out of memory: could not allocate scratch memory (the packed weight takes ",
         int64_t(bytes), " bytes)");
  }
}

Tensor empty(const Int8Call& call, const std::vector<int64_t>& sizes, ScalarType dtype) {
  double elements = 1;
  for (const int64_t size : sizes) elements *= double(size);
  const Tensor out = allocate(call.op, "the output", elements * (dtype == ScalarType::Byte ? 1 : 4), [&] {
    return torch::stable::new_empty(call.a, IntHeaderOnlyArrayRef(sizes.data(), sizes.size()), dtype);
  });
  cpu::prefer_huge_pages(out.mutable_data_ptr(), out.numel() * int64_t(out.element_size()));
  return out;
}

Tensor run(const Int8Call& call, const Int8Source& weight, const Int8Weight& shape) {
  const Activation activation = check_call(call, shape.n);
  const Tensor out = empty(call, call.out_sizes(shape.n), call.written_dtype());
  if (out.numel() > 0) run_into(call, activation, weight, shape, out);
  return as_dtype(call.op, "the output", out, call.out_dtype());
}

void run_out(const Int8Call& call, const Int8Source& weight, const Int8Weight& shape, Tensor out) {
  const Activation activation = check_call(call, shape.n);
  const std::vector<int64_t> sizes = call.out_sizes(shape.n);
  check_out(call, out, sizes);
  bool direct = writes_directly(call, out);
  for (const Tensor* tensor : {weight.plain, weight.packed}) direct &= !tensor || !overlaps(out, *tensor);
  if (direct && out.numel() > 0) return run_into(call, activation, weight, shape, out);
  if (out.numel() > 0) torch::stable::copy_(out, run(call, weight, shape));
}

// The packed weight of a call; returns its shape.
Int8Weight checked_packed(const Int8Call& call, const Tensor& packed, int64_t n) {
  check_a(call.op, call.a);
  check_depth(call.op, call.k(), false);
  GK_CHECK(n >= 0 && n < (int64_t{1} << 31), call.op, "n must be in [0, 2^31), got ", n);
  GK_CHECK(packed.dim() == 1 && packed.is_contiguous(), call.op,
           "packed must be 1-D and contiguous, got shape ", shape(packed));
  GK_CHECK(packed.scalar_type() == ScalarType::Char, call.op, "packed must be int8, got ",
           dtype_name(packed.scalar_type()));
  check_device(call.op, "packed", packed, "a", call.a);
  const Int8Weight weight{n, call.k()};
  GK_CHECK(packed.numel() == weight.packed_bytes(), call.op, "packed must have ", weight.packed_bytes(),
           " elements for n = ", n, " and k = ", call.k(), ", got ", packed.numel());
  return weight;
}

// Entry points, in the order of the schemas of greenkernels/ops/int8_gemm_op.py.

Tensor int8_gemm_pack(const Tensor& b) {
  GK_CHECK(b.dim() == 2, kPackOp, "b must be 2-D, got shape ", shape(b));
  GK_CHECK(b.scalar_type() == ScalarType::Char, kPackOp, "b must be int8, got ", dtype_name(b.scalar_type()));
  check_depth(kPackOp, b.size(1), false);
  const Int8Weight weight{b.size(0), b.size(1)};
  const Tensor plain = as_contiguous(kPackOp, "a copy of b", b, ScalarType::Char);
  Tensor packed = allocate(kPackOp, "the packed weight", double(weight.packed_bytes()),
                           [&] { return torch::stable::new_empty(plain, {weight.packed_bytes()}); });
  if (weight.packed_bytes() > 0) {
    cpu::prefer_huge_pages(packed.mutable_data_ptr(), weight.packed_bytes());
    cpu::int8_gemm_pack({plain.const_data_ptr<int8_t>(), packed.mutable_data_ptr<int8_t>(), weight});
  }
  return packed;
}

Tensor int8_gemm(const Tensor& a, const Tensor& b, const OptionalTensor& row_scale,
                 const OptionalTensor& col_scale, const OptionalTensor& a_zero_point,
                 const OptionalTensor& bias, const OptionalString& activation,
                 const OptionalTensor& activation_param, const OptionalDouble& out_scale,
                 int64_t out_zero_point) {
  const Int8Call call{kGemmOp, a,          row_scale,        col_scale, a_zero_point,
                      bias,    activation, activation_param, out_scale, out_zero_point};
  return run(call, {&b, nullptr}, checked_plain(call, b));
}

void int8_gemm_out(const Tensor& a, const Tensor& b, const OptionalTensor& row_scale,
                   const OptionalTensor& col_scale, const OptionalTensor& a_zero_point,
                   const OptionalTensor& bias, const OptionalString& activation,
                   const OptionalTensor& activation_param, const OptionalDouble& out_scale,
                   int64_t out_zero_point, Tensor out) {
  const Int8Call call{kGemmOp, a,          row_scale,        col_scale, a_zero_point,
                      bias,    activation, activation_param, out_scale, out_zero_point};
  run_out(call, {&b, nullptr}, checked_plain(call, b), out);
}

Tensor int8_gemm_packed(const Tensor& a, const Tensor& packed, int64_t n, const OptionalTensor& row_scale,
                        const OptionalTensor& col_scale, const OptionalTensor& a_zero_point,
                        const OptionalTensor& bias, const OptionalString& activation,
                        const OptionalTensor& activation_param, const OptionalDouble& out_scale,
                        int64_t out_zero_point) {
  const Int8Call call{kPackedOp, a,          row_scale,        col_scale, a_zero_point,
                      bias,      activation, activation_param, out_scale, out_zero_point};
  return run(call, {nullptr, &packed}, checked_packed(call, packed, n));
}

void int8_gemm_packed_out(const Tensor& a, const Tensor& packed, int64_t n, const OptionalTensor& row_scale,
                          const OptionalTensor& col_scale, const OptionalTensor& a_zero_point,
                          const OptionalTensor& bias, const OptionalString& activation,
                          const OptionalTensor& activation_param, const OptionalDouble& out_scale,
                          int64_t out_zero_point, Tensor out) {
  const Int8Call call{kPackedOp, a,          row_scale,        col_scale, a_zero_point,
                      bias,      activation, activation_param, out_scale, out_zero_point};
  run_out(call, {nullptr, &packed}, checked_packed(call, packed, n), out);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("int8_gemm_pack", TORCH_BOX(&int8_gemm_pack));
  m.impl("int8_gemm", TORCH_BOX(&int8_gemm));
  m.impl("int8_gemm.out", TORCH_BOX(&int8_gemm_out));
  m.impl("int8_gemm_packed", TORCH_BOX(&int8_gemm_packed));
  m.impl("int8_gemm_packed.out", TORCH_BOX(&int8_gemm_packed_out));
}

}  // namespace greenkernels::ops
