// The torch side of strassen_conv2d: the ops and their registration.
#include "ops/strassen_conv2d.h"

#include <torch/csrc/stable/library.h>

#include <type_traits>

#include "ops/conv2d_run.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kConvOp = "strassen_conv2d";
constexpr const char* kPackOp = "strassen_conv2d_pack";
constexpr const char* kPackedOp = "strassen_conv2d_packed";

using OptionalString = std::optional<std::string>;

int64_t out_channels_of(const Tensor& input, const Tensor& weight) {
  check_input(kConvOp, input);
  GK_CHECK(weight.dim() == 4, kConvOp, "weight must be 4-D, got shape ", shape(weight));
  return weight.size(0);
}

// Entry points, in the order of the schemas of greenkernels/ops/strassen_conv2d_op.py.

Tensor strassen_conv2d_pack(const Tensor& weight, int64_t levels) {
  check_pointwise_pack(kPackOp, weight, levels);
  const int64_t n = weight.size(0), k = weight.size(1);
  return pack(kPackOp, weight, strassen_packed_size(n, k, int(levels)), [&](auto* plain, auto* packed) {
    using T = std::remove_pointer_t<decltype(packed)>;
    cpu::strassen_gemm_pack(StrassenPackArgs<T>{{plain, packed, k, 1, n, k}, int(levels)});
  });
}

Tensor strassen_conv2d(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, int64_t levels,
                       const OptionalString& activation, const OptionalTensor& activation_param,
                       const OptionalTensor& skip, double skip_scale) {
  const PointwiseCall call{
      {kConvOp, input, bias, out_channels_of(input, weight), activation, activation_param, skip, skip_scale},
      levels};
  return convolve(call, checked_weight(call, weight));
}

void strassen_conv2d_out(const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                         int64_t levels, const OptionalString& activation,
                         const OptionalTensor& activation_param, const OptionalTensor& skip,
                         double skip_scale, Tensor out) {
  const PointwiseCall call{
      {kConvOp, input, bias, out_channels_of(input, weight), activation, activation_param, skip, skip_scale},
      levels};
  convolve_out(call, checked_weight(call, weight), out);
}

Tensor strassen_conv2d_packed(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                              int64_t out_channels, int64_t levels, const OptionalString& activation,
                              const OptionalTensor& activation_param, const OptionalTensor& skip,
                              double skip_scale) {
  const PointwiseCall call{
      {kPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale}, levels};
  return convolve(call, checked_packed(call, packed));
}

void strassen_conv2d_packed_out(const Tensor& input, const Tensor& packed, const OptionalTensor& bias,
                                int64_t out_channels, int64_t levels, const OptionalString& activation,
                                const OptionalTensor& activation_param, const OptionalTensor& skip,
                                double skip_scale, Tensor out) {
  const PointwiseCall call{
      {kPackedOp, input, bias, out_channels, activation, activation_param, skip, skip_scale}, levels};
  convolve_out(call, checked_packed(call, packed), out);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(greenkernels, CPU, m) {
  m.impl("strassen_conv2d_pack", TORCH_BOX(&strassen_conv2d_pack));
  m.impl("strassen_conv2d", TORCH_BOX(&strassen_conv2d));
  m.impl("strassen_conv2d.out", TORCH_BOX(&strassen_conv2d_out));
  m.impl("strassen_conv2d_packed", TORCH_BOX(&strassen_conv2d_packed));
  m.impl("strassen_conv2d_packed.out", TORCH_BOX(&strassen_conv2d_packed_out));
}

}  // namespace greenkernels::ops
