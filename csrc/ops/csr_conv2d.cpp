// The torch side of csr_conv2d: checks, allocation, registration. Half precision is computed in float32.
// greenkernels/ops/csr_conv2d_op.py holds the same checks in the same order and words.
#include "api/csr_conv2d.h"

#include <torch/csrc/stable/library.h>

#include <cstring>

#include "ops/csr_contents.h"
#include "ops/direct_conv2d.h"
#include "ops/huge_pages.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "csr_conv2d_packed";

using Ints = std::vector<int64_t>;

struct Call {
  const Tensor& input;
  const Tensor& packed;
  const OptionalTensor& bias;
  int64_t out_channels;
  const Ints &kernel_size, &stride, &padding, &dilation;
  int64_t nnz;

  CsrShape sizes() const { return {out_channels, input.size(1) * kernel_size[0] * kernel_size[1], nnz}; }
  int64_t out_size(int d) const {
    return DirectConv2dArgs<float>::out_size(input.size(2 + d), padding[d], kernel_size[d], stride[d],
                                             dilation[d]);
  }
};

void check_call(const Call& call) {
  check_input(kOp, call.input);
  GK_CHECK(call.input.scalar_type() != ScalarType::Double, kOp,
           "input must be float16, bfloat16 or float32, got float64");
  GK_CHECK(0 <= call.out_channels && call.out_channels < kMaxFeatures, kOp,
           "out_channels must be in [0, 2^31), got ", call.out_channels);
  GK_CHECK(call.nnz >= 0, kOp, "nnz must be at least 0, got ", call.nnz);
  const std::optional<std::string> none;
  const OptionalTensor nothing;
  const DirectCall geometry{{kOp, call.input, call.bias, call.out_channels, none, nothing, nothing, 1.0},
                            call.kernel_size,
                            call.stride,
                            call.padding,
                            call.dilation,
                            1};
  check_sizes(geometry);
  check_tensor(kOp, "packed", call.packed, 1, ScalarType::Byte, "csr_matmul_pack's result", call.input);
  const int64_t bytes = csr_packed_bytes(call.sizes(), csr_layout(call.sizes(), kCsrConvBatch), 4);
  GK_CHECK(call.packed.size(0) == bytes && call.packed.is_contiguous(), kOp, "packed must have ", bytes,
           " elements for ", call.nnz, " nonzeros of [", call.out_channels, ", ", call.sizes().k, "], got ",
           call.packed.size(0));
  check_header(kOp, call.packed, call.sizes(), csr_layout(call.sizes(), kCsrConvBatch), 4);
  if (!call.bias) return;
  check_tensor(kOp, "bias", *call.bias, 1, call.input.scalar_type(), "input", call.input);
  GK_CHECK(call.bias->size(0) == call.out_channels, kOp, "bias must have ", call.out_channels,
           " elements, got ", call.bias->size(0));
}

CsrConv2dArgs args_of(const Call& call) {
  CsrConv2dArgs args{};
  args.shape = call.sizes();
  args.layout = csr_layout(args.shape, kCsrConvBatch);
  args.batch = call.input.size(0), args.in_c = call.input.size(1);
  args.h = call.input.size(2), args.w = call.input.size(3);
  args.out_h = call.out_size(0), args.out_w = call.out_size(1);
  args.kernel_h = call.kernel_size[0], args.kernel_w = call.kernel_size[1];
  args.pad_h = call.padding[0], args.pad_w = call.padding[1];
  args.stride_h = call.stride[0], args.stride_w = call.stride[1];
  args.dilation_h = call.dilation[0], args.dilation_w = call.dilation[1];
  return args;
}

// The output is in the memory format of the input; the kernel reads and writes NCHW.
Tensor csr_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                         int64_t out_channels, Ints kernel_size, Ints stride, Ints padding, Ints dilation,
                         int64_t nnz) {
  const Call call{input, packed, bias, out_channels, kernel_size, stride, padding, dilation, nnz};
  check_call(call);
  CsrConv2dArgs args = args_of(call);
  const Tensor maps = as_dense_map(kOp, "a dense copy of input", input, ScalarType::Float, MapLayout::kNchw);
  OptionalTensor own_bias;
  if (bias) own_bias = as_contiguous(kOp, "a copy of bias", *bias, ScalarType::Float);
  const MapSizes sizes = {args.batch, out_channels, args.out_h, args.out_w};
  const Tensor out =
      with_huge_pages(empty_map(kOp, "the output", sizes, MapLayout::kNchw, ScalarType::Float, maps));
  args.input = maps.const_data_ptr<float>();
  args.bias = own_bias ? own_bias->const_data_ptr<float>() : nullptr;
  args.out = out.mutable_data_ptr<float>();
  // Memory of torch is 64-byte aligned; a view or a mapped file need not be.
  Tensor aligned = packed;
  if (reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 64 != 0) {
    aligned = torch::stable::new_empty(packed, packed.sizes());
    std::memcpy(aligned.mutable_data_ptr(), packed.const_data_ptr(), packed.numel());
  }
  args.packed = aligned.const_data_ptr();
  try {
    cpu::csr_conv2d(args);
  } catch (const std::bad_alloc&) {
    fail(kOp, "out of memory: could not allocate scratch memory");
  }
  const Tensor placed = as_dense_map(kOp, "the output", out, ScalarType::Float, suggested_layout(input));
  return as_dtype(kOp, "the output", placed, input.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("csr_conv2d_packed", TORCH_BOX(&csr_conv2d_packed));
}

}  // namespace greenkernels::ops
