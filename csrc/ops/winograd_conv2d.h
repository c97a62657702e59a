// What a call of winograd_conv2d asks for, and every check of its arguments.
// greenkernels/ops/winograd_conv2d_checks.py holds the same checks in the same order and words for fake
// tensors and for plain torch; a test compares the two.
#pragma once

#include "api/winograd_conv2d.h"

#include <vector>

#include "ops/conv2d_checks.h"

namespace greenkernels::ops {

struct WinogradCall : ConvCall {
  static constexpr bool kHalfMaps = true;

  const std::vector<int64_t>& padding;
  int64_t tile;

  MapSizes out_sizes() const {
    return {input.size(0), out_channels, input.size(2) + 2 * padding[0] - 2,
            input.size(3) + 2 * padding[1] - 2};
  }
  int64_t packed_size() const {
    return winograd_packed_size(out_channels, input.size(1), static_cast<int>(tile));
  }

  template <typename T>
  void pack(const T* weight, T* packed) const {
    cpu::winograd_conv2d_pack(
        WinogradPackArgs<T>{weight, packed, out_channels, input.size(1), static_cast<int>(tile)});
  }

  // The sizes; run_kernel fills in the rest.
  template <typename T, typename S>
  WinogradConv2dArgs<T, S> args() const {
    WinogradConv2dArgs<T, S> args{};
    args.in_c = input.size(1);
    args.out_c = out_channels;
    args.pad_h = padding[0];
    args.pad_w = padding[1];
    args.tile = static_cast<int>(tile);
    return args;
  }

  template <typename T, typename S>
  static void run(const WinogradConv2dArgs<T, S>& args) {
    cpu::winograd_conv2d(args);
  }
};

inline void check_tile(const char* op, int64_t tile) {
  GK_CHECK(tile == 2 || tile == 4 || tile == 6, op, "tile must be 2, 4 or 6, got ", tile);
}

// Padding and sizes: as in torch, a map must hold the filter at least once, unless it has no rows or columns
// to begin with.
inline void check_sizes(const WinogradCall& call) {
  check_pair(call, "padding", call.padding, 0);
  const MapSizes in = call.in_sizes(), out = call.out_sizes();
  for (const int d : {2, 3}) {
    GK_CHECK(out[d] > 0 || (out[d] == 0 && in[d] == 0), call.op,
             "input must be at least 3 x 3 with its padding, got ", out[2] + 2, " x ", out[3] + 2);
  }
}

// All of a call but its weight, which is checked before.
inline Activation check_call(const WinogradCall& call) {
  check_bias(call);
  check_sizes(call);
  check_tile(call.op, call.tile);
  const Activation activation = parse_activation(call);
  check_activation_param(call, activation);
  check_skip(call, call.out_sizes());
  return activation;
}

inline Weight checked_weight(const WinogradCall& call, const Tensor& weight) {
  check_input(call.op, call.input);
  check_tensor(call.op, "weight", weight, 4, call.input.scalar_type(), "input", call.input);
  GK_CHECK(weight.size(1) == call.input.size(1) && weight.size(2) == 3 && weight.size(3) == 3, call.op,
           "weight must be [out_channels, ", call.input.size(1), ", 3, 3] for input ", ops::shape(call.input),
           ", got ", ops::shape(weight));
  return {.plain = &weight};
}

inline Weight checked_packed(const WinogradCall& call, const Tensor& packed) {
  check_input(call.op, call.input);
  check_tile(call.op, call.tile);
  check_packed(call, packed);
  GK_CHECK(packed.numel() == call.packed_size(), call.op, "packed must have ", call.packed_size(),
           " elements for ", call.input.size(1), " -> ", call.out_channels, " channels and tile ", call.tile,
           ", got ", packed.numel());
  return {.packed = &packed};
}

inline void check_pack(const char* op, const Tensor& weight, int64_t tile) {
  GK_CHECK(weight.dim() == 4, op, "weight must be 4-D, got shape ", ops::shape(weight));
  check_float(op, "weight", weight);
  GK_CHECK(weight.size(2) == 3 && weight.size(3) == 3, op,
           "weight must be [out_channels, in_channels, 3, 3], got ", ops::shape(weight));
  check_tile(op, tile);
}

}  // namespace greenkernels::ops
