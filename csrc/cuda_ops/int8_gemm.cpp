// int8_gemm on CUDA tensors: the ops and their registration. Packed weights are the CPU's alone.
#include "ops/int8_gemm.h"

#include "cuda_ops/cuda_call.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "int8_gemm";

using OptionalString = std::optional<std::string>;
using OptionalDouble = std::optional<double>;

Tensor empty(const CudaCall& device, const Tensor& like, const std::vector<int64_t>& sizes,
             ScalarType dtype) {
  double bytes = dtype == ScalarType::Byte ? 1 : 4;
  for (const int64_t size : sizes) bytes *= double(size);
  return device.use(allocate(kOp, "a result", bytes, [&] {
    return torch::stable::new_empty(like, IntHeaderOnlyArrayRef(sizes.data(), sizes.size()), dtype);
  }));
}

// The quantized a of a call: as it came, or made of floats. Values of a_zero_point are not looked at: that
// would wait for the device.
struct Quantized {
  Tensor a;
  OptionalTensor row_scale, zero_point;

  Quantized(const Int8Call& call, const CudaCall& device)
      : a(as_contiguous(kOp, "a copy of a", call.a,
                        call.is_float() ? ScalarType::Float : call.a.scalar_type())),
        row_scale(contiguous(kOp, "a copy of row_scale", call.row_scale)),
        zero_point(contiguous(kOp, "a copy of a_zero_point", call.a_zero_point)) {
    device.use(a);
    device.use(row_scale);
    device.use(zero_point);
    if (call.is_float()) quantize(call.m(), call.k(), device);
  }

 private:
  void quantize(int64_t m, int64_t k, const CudaCall& device) {
    const Tensor qa = empty(device, a, {m, k}, ScalarType::Byte);
    Int8QuantizeArgs args{};
    args.a = a.const_data_ptr<float>();
    args.qa = qa.mutable_data_ptr<uint8_t>();
    args.row_scale = data<float>(row_scale);
    args.row_scales = row_scale ? row_scale->numel() : 0;
    args.zero_point = data<int32_t>(zero_point);
    args.zero_points = zero_point ? zero_point->numel() : 0;
    if (!row_scale) {
      row_scale = empty(device, a, {m}, ScalarType::Float);
      zero_point = empty(device, a, {m}, ScalarType::Int);
      args.found_scale = row_scale->mutable_data_ptr<float>();
      args.found_zero_point = zero_point->mutable_data_ptr<int32_t>();
    }
    args.m = m, args.k = k;
    device.check(cuda::int8_quantize(args, device.stream()));
    a = qa;
  }
};

OptionalTensor sums_of_rows(const CudaCall& device, const Tensor& b) {
  const Tensor sums = empty(device, b, {b.size(0)}, ScalarType::Int);
  device.check(cuda::int8_row_sums(
      {b.const_data_ptr<int8_t>(), sums.mutable_data_ptr<int32_t>(), b.size(0), b.size(1)}, device.stream()));
  return sums;
}

// The product into `out`, contiguous int32 or float32.
void multiply_into(const Int8Call& call, Activation activation, const Tensor& b, const Tensor& out,
                   const CudaCall& device) {
  const Quantized quantized(call, device);
  const Tensor weight = device.use(as_contiguous(kOp, "a copy of b", b, ScalarType::Char));
  const OptionalTensor col_scale = contiguous(kOp, "a copy of col_scale", call.col_scale),
                       bias = contiguous(kOp, "a copy of bias", call.bias),
                       param = contiguous(kOp, "a copy of activation_param", call.activation_param),
                       sums = quantized.zero_point ? sums_of_rows(device, weight) : std::nullopt;
  for (const OptionalTensor* tensor : {&col_scale, &bias, &param}) device.use(*tensor);
  Int8CudaGemmArgs args{};
  args.a = quantized.a.const_data_ptr();
  args.b = weight.const_data_ptr<int8_t>();
  args.b_sums = data<int32_t>(sums);
  args.row_scale = data<float>(quantized.row_scale);
  args.row_scales = quantized.row_scale ? quantized.row_scale->numel() : 0;
  args.zero_point = data<int32_t>(quantized.zero_point);
  args.zero_points = quantized.zero_point ? quantized.zero_point->numel() : 0;
  args.epilogue.col_scale = data<float>(col_scale);
  args.epilogue.bias = data<float>(bias);
  args.epilogue.activation = activation;
  args.epilogue.activation_param = data<float>(param);
  args.epilogue.activation_params = param ? param->numel() : 0;
  args.out = out.mutable_data_ptr();
  args.input = call.input() == Int8Input::kInt8 ? Int8Input::kInt8 : Int8Input::kUint8;
  args.output = call.output() == Int8Output::kSums ? Int8Output::kSums : Int8Output::kFloat;
  args.m = call.m(), args.n = weight.size(0), args.k = weight.size(1);
  OptionalTensor scratch;
  if (const int64_t count = cuda::int8_gemm_scratch(args); count > 0) {
    scratch = empty(device, out, {count}, ScalarType::Int);
  }
  int32_t* memory = scratch ? scratch->mutable_data_ptr<int32_t>() : nullptr;
  device.check(cuda::int8_gemm(args, memory, device.stream()));
}

// Everything of a call into `out`, contiguous and of the type that call.written_dtype() says.
void run_into(const Int8Call& call, Activation activation, const Tensor& b, const Tensor& out) {
  GK_CHECK(call.k() <= kInt8Slice, kOp, "k must be at most ", kInt8Slice, " on CUDA, got ", call.k());
  if (out.numel() == 0) return;
  const CudaCall device(kOp, call.a);
  device.use(out);
  if (call.output() != Int8Output::kUint8) return multiply_into(call, activation, b, out, device);
  const Tensor values = empty(device, out, call.out_sizes(b.size(0)), ScalarType::Float);
  multiply_into(call, activation, b, values, device);
  device.check(cuda::int8_requantize({values.const_data_ptr<float>(), out.mutable_data_ptr<uint8_t>(),
                                      out.numel(), 1 / float(*call.out_scale), int32_t(call.out_zero_point)},
                                     device.stream()));
}

Tensor run(const Int8Call& call, const Tensor& b) {
  const int64_t n = checked_plain(call, b).n;
  const Activation activation = check_call(call, n);
  const Tensor out = empty(CudaCall(kOp, call.a), call.a, call.out_sizes(n), call.written_dtype());
  run_into(call, activation, b, out);
  return as_dtype(kOp, "the output", out, call.out_dtype());
}

// Entry points, in the order of the schemas of greenkernels/ops/int8_gemm_op.py.

Tensor int8_gemm(const Tensor& a, const Tensor& b, const OptionalTensor& row_scale,
                 const OptionalTensor& col_scale, const OptionalTensor& a_zero_point,
                 const OptionalTensor& bias, const OptionalString& activation,
                 const OptionalTensor& activation_param, const OptionalDouble& out_scale,
                 int64_t out_zero_point) {
  return run({kOp, a, row_scale, col_scale, a_zero_point, bias, activation, activation_param, out_scale,
              out_zero_point},
             b);
}

void int8_gemm_out(const Tensor& a, const Tensor& b, const OptionalTensor& row_scale,
                   const OptionalTensor& col_scale, const OptionalTensor& a_zero_point,
                   const OptionalTensor& bias, const OptionalString& activation,
                   const OptionalTensor& activation_param, const OptionalDouble& out_scale,
                   int64_t out_zero_point, Tensor out) {
  const Int8Call call{kOp,  a,          row_scale,        col_scale, a_zero_point,
                      bias, activation, activation_param, out_scale, out_zero_point};
  const int64_t n = checked_plain(call, b).n;
  const Activation activation_checked = check_call(call, n);
  check_out(call, out, call.out_sizes(n));
  if (writes_directly(call, out) && !overlaps(out, b)) return run_into(call, activation_checked, b, out);
  if (out.numel() > 0) torch::stable::copy_(out, run(call, b));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("int8_gemm", TORCH_BOX(&int8_gemm));
  m.impl("int8_gemm.out", TORCH_BOX(&int8_gemm_out));
}

}  // namespace greenkernels::ops
