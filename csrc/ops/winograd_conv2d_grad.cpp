// The torch side of winograd_conv2d's gradients: checks, the layouts the kernels read and write, allocation,
// registration. Maps of half precision are read and written as they are and computed in float32, as in
// winograd_conv2d.cpp.
#include <torch/csrc/stable/library.h>

#include "cpu/scratch.h"
#include "ops/huge_pages.h"
#include "ops/winograd_conv2d.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kInputOp = "winograd_conv2d_input_grad";
constexpr const char* kWeightOp = "winograd_conv2d_weight_grad";

ScalarType compute_dtype(const Tensor& tensor) {
  return tensor.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

MapSizes sizes_of(const Tensor& map) { return {map.size(0), map.size(1), map.size(2), map.size(3)}; }

// Whether maps of the kernel's input can have outputs of this shape: the checks of both gradients.
void check_padding(const char* op, const std::vector<int64_t>& padding, int64_t most) {
  const bool valid =
      padding.size() == 2 && padding[0] >= 0 && padding[0] <= most && padding[1] >= 0 && padding[1] <= most;
  GK_CHECK(valid, op, "padding must be two integers in [0, ", most, "], got ",
           shape(IntHeaderOnlyArrayRef(padding.data(), padding.size())));
}

// Gradient of the input: a convolution of grad with the filters turned by 180 degrees and channels swapped.

MapSizes check_input_grad(const Tensor& grad, const Tensor& weight, const std::vector<int64_t>& padding,
                          int64_t tile) {
  GK_CHECK(grad.dim() == 4, kInputOp, "grad must be 4-D, got shape ", shape(grad));
  check_float(kInputOp, "grad", grad);
  check_tensor(kInputOp, "weight", weight, 4, grad.scalar_type(), "grad", grad);
  GK_CHECK(weight.size(0) == grad.size(1) && weight.size(2) == 3 && weight.size(3) == 3, kInputOp,
           "weight must be [", grad.size(1), ", in_channels, 3, 3] for grad ", shape(grad), ", got ",
           shape(weight));
  check_padding(kInputOp, padding, 2);  // more would need a negative padding of the convolution
  check_tile(kInputOp, tile);
  const MapSizes in = {grad.size(0), weight.size(1), grad.size(2) + 2 - 2 * padding[0],
                       grad.size(3) + 2 - 2 * padding[1]};
  GK_CHECK(in[2] >= 0 && in[3] >= 0, kInputOp, "grad must be of an input of at least 0 x 0, got ", in[2],
           " x ", in[3]);
  return in;
}

template <typename T, typename S>
void run_input_grad(const Tensor& grad, const Tensor& weight, const std::vector<int64_t>& padding,
                    int64_t tile, const Tensor& out, MapLayout out_layout) {
  const MapLayout layout = readable_layout(grad);
  const Tensor source = as_dense_map(kInputOp, "a dense copy of grad", grad, grad.scalar_type(), layout);
  const Tensor filters = as_contiguous(kInputOp, "a copy of weight", weight, compute_dtype(grad));
  const int64_t bytes =
      winograd_packed_size(weight.size(1), weight.size(0), static_cast<int>(tile)) * int64_t{sizeof(T)};
  try {
    const cpu::ScratchLease packed(bytes);
    cpu::winograd_conv2d_pack(WinogradPackArgs<T>{static_cast<const T*>(filters.const_data_ptr()),
                                                  packed.as<T>(), weight.size(1), weight.size(0),
                                                  static_cast<int>(tile), true});
    WinogradConv2dArgs<T, S> args{};
    args.input = static_cast<const S*>(source.const_data_ptr());
    args.packed = packed.as<T>();
    args.out = static_cast<S*>(out.mutable_data_ptr());
    args.input_layout = layout, args.out_layout = out_layout;
    args.batch = grad.size(0), args.in_c = grad.size(1), args.out_c = weight.size(1);
    args.h = grad.size(2), args.w = grad.size(3);
    args.pad_h = 2 - padding[0], args.pad_w = 2 - padding[1];
    args.tile = static_cast<int>(tile);
    cpu::winograd_conv2d(args);
  } catch (const std::bad_alloc&) {
    fail(kInputOp, "out of memory: could not allocate scratch memory (the packed weight takes ", bytes,
         " bytes)");
  }
}

auto select_input_grad(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Double:
      return &run_input_grad<double, double>;
    case ScalarType::BFloat16:
      return &run_input_grad<float, BFloat16>;
    case ScalarType::Half:
      return &run_input_grad<float, Float16>;
    default:
      return &run_input_grad<float, float>;
  }
}

// Gradient of the weight.

void check_weight_grad(const Tensor& input, const Tensor& grad, const std::vector<int64_t>& padding,
                       int64_t tile) {
  check_input(kWeightOp, input);
  check_tensor(kWeightOp, "grad", grad, 4, input.scalar_type(), "input", input);
  check_padding(kWeightOp, padding, (int64_t{1} << 31) - 1);
  const MapSizes expected = {input.size(0), grad.size(1), input.size(2) + 2 * padding[0] - 2,
                             input.size(3) + 2 * padding[1] - 2};
  GK_CHECK(sizes_of(grad) == expected, kWeightOp, "grad must have shape ", shape(expected), " for input ",
           shape(input), ", got ", shape(grad));
  GK_CHECK(tile == 2 || tile == 4, kWeightOp, "tile must be 2 or 4, got ", tile);
}

template <typename T, typename S>
void run_weight_grad(const Tensor& input, const Tensor& grad, const std::vector<int64_t>& padding,
                     int64_t tile, const Tensor& out) {
  const ScalarType dtype = input.scalar_type();
  const MapLayout input_layout = readable_layout(input), grad_layout = readable_layout(grad);
  const Tensor x = as_dense_map(kWeightOp, "a dense copy of input", input, dtype, input_layout);
  const Tensor dy = as_dense_map(kWeightOp, "a dense copy of grad", grad, dtype, grad_layout);
  try {
    cpu::winograd_conv2d_weight_grad(WinogradWeightGradArgs<T, S>{
        .input = static_cast<const S*>(x.const_data_ptr()),
        .grad = static_cast<const S*>(dy.const_data_ptr()),
        .grad_weight = static_cast<T*>(out.mutable_data_ptr()),
        .input_layout = input_layout,
        .grad_layout = grad_layout,
        .batch = input.size(0),
        .in_c = input.size(1),
        .out_c = grad.size(1),
        .h = input.size(2),
        .w = input.size(3),
        .pad_h = padding[0],
        .pad_w = padding[1],
        .tile = static_cast<int>(tile),
    });
  } catch (const std::bad_alloc&) {
    fail(kWeightOp, "out of memory: could not allocate scratch memory");
  }
}

auto select_weight_grad(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Double:
      return &run_weight_grad<double, double>;
    case ScalarType::BFloat16:
      return &run_weight_grad<float, BFloat16>;
    case ScalarType::Half:
      return &run_weight_grad<float, Float16>;
    default:
      return &run_weight_grad<float, float>;
  }
}

// Entry points, in the order of the schemas of greenkernels/ops/winograd_conv2d_grad_op.py.

Tensor winograd_conv2d_input_grad(const Tensor& grad, const Tensor& weight, std::vector<int64_t> padding,
                                  int64_t tile) {
  const MapSizes sizes = check_input_grad(grad, weight, padding, tile);
  const MapLayout layout = suggested_layout(grad);
  const Tensor out = with_huge_pages(
      empty_map(kInputOp, "the gradient of the input", sizes, layout, grad.scalar_type(), grad));
  if (out.numel() > 0) select_input_grad(grad.scalar_type())(grad, weight, padding, tile, out, layout);
  return out;
}

Tensor winograd_conv2d_weight_grad(const Tensor& input, const Tensor& grad, std::vector<int64_t> padding,
                                   int64_t tile) {
  check_weight_grad(input, grad, padding, tile);
  const MapSizes sizes = {grad.size(1), input.size(1), 3, 3};
  const Tensor out = with_huge_pages(empty_map(kWeightOp, "the gradient of the weight", sizes,
                                               MapLayout::kNchw, compute_dtype(input), input));
  select_weight_grad(input.scalar_type())(input, grad, padding, tile, out);
  return as_dtype(kWeightOp, "the gradient of the weight", out, input.scalar_type());
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("winograd_conv2d_input_grad", TORCH_BOX(&winograd_conv2d_input_grad));
  m.impl("winograd_conv2d_weight_grad", TORCH_BOX(&winograd_conv2d_weight_grad));
}

}  // namespace greenkernels::ops
