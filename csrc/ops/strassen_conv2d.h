// What a call of strassen_conv2d asks for, and every check of its arguments.
// greenkernels/ops/strassen_conv2d_checks.py holds the same checks in the same order and words for fake
// tensors and for plain torch; a test compares the two.
#pragma once

#include "api/strassen_conv2d.h"

#include "ops/conv2d_checks.h"
#include "ops/strassen_levels.h"

namespace greenkernels::ops {

struct PointwiseCall : ConvCall {
  int64_t levels;

  int64_t in_channels() const { return input.size(1); }
  MapSizes out_sizes() const { return {input.size(0), out_channels, input.size(2), input.size(3)}; }
  int64_t packed_size() const { return strassen_packed_size(out_channels, in_channels(), int(levels)); }

  template <typename T>
  void pack(const T* weight, T* packed) const {
    const SgemmPackArgs<T> plain{weight, packed, in_channels(), 1, out_channels, in_channels()};
    cpu::strassen_gemm_pack(StrassenPackArgs<T>{plain, int(levels)});
  }

  // The sizes; run_kernel fills in the rest.
  template <typename T>
  StrassenConv2dArgs<T> args() const {
    StrassenConv2dArgs<T> args{};
    args.in_c = in_channels();
    args.out_c = out_channels;
    args.levels = int(levels);
    return args;
  }

  template <typename T>
  static void run(const StrassenConv2dArgs<T>& args) {
    cpu::strassen_conv2d(args);
  }
};

// All of a call but its weight, which is checked before.
inline Activation check_call(const PointwiseCall& call) {
  check_bias(call);
  const Activation activation = parse_activation(call);
  check_activation_param(call, activation);
  check_skip(call, call.out_sizes());
  return activation;
}

inline Weight checked_weight(const PointwiseCall& call, const Tensor& weight) {
  check_input(call.op, call.input);
  check_levels(call.op, call.levels);
  check_tensor(call.op, "weight", weight, 4, call.input.scalar_type(), "input", call.input);
  GK_CHECK(weight.size(1) == call.input.size(1) && weight.size(2) == 1 && weight.size(3) == 1, call.op,
           "weight must be [out_channels, ", call.input.size(1), ", 1, 1] for input ", ops::shape(call.input),
           ", got ", ops::shape(weight));
  return {.plain = &weight};
}

inline Weight checked_packed(const PointwiseCall& call, const Tensor& packed) {
  check_input(call.op, call.input);
  check_levels(call.op, call.levels);
  check_packed(call, packed);
  GK_CHECK(packed.numel() == call.packed_size(), call.op, "packed must have ", call.packed_size(),
           " elements for ", call.input.size(1), " -> ", call.out_channels, " channels and levels ",
           call.levels, ", got ", packed.numel());
  return {.packed = &packed};
}

inline void check_pointwise_pack(const char* op, const Tensor& weight, int64_t levels) {
  GK_CHECK(weight.dim() == 4, op, "weight must be 4-D, got shape ", ops::shape(weight));
  check_float(op, "weight", weight);
  check_levels(op, levels);
  GK_CHECK(weight.size(2) == 1 && weight.size(3) == 1, op,
           "weight must be [out_channels, in_channels, 1, 1], got ", ops::shape(weight));
}

}  // namespace greenkernels::ops
