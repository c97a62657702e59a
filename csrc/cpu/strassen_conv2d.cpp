// strassen_conv2d on the CPU: the product that a 1x1 convolution is. Maps in channels last are matrices
// [pixels, channels] and need no copy; maps in NCHW are their transposes, which sgemm reads and writes as
// they lie.
#include "api/strassen_conv2d.h"

namespace greenkernels::cpu {

namespace {

template <typename T>
void run(const StrassenConv2dArgs<T>& args) {
  const int64_t pixels = args.h * args.w;
  const bool rows_in = args.input_layout == MapLayout::kNhwc, rows_out = args.out_layout == MapLayout::kNhwc;
  const bool one_product = rows_in && rows_out;  // the pixels of all items are rows of one matrix
  StrassenGemmArgs<T> call{};
  call.levels = args.levels;
  SgemmArgs<T>& g = call.gemm;
  g.a = args.input;
  g.packed = args.packed;
  g.bias = args.bias;
  g.out = args.out;
  g.activation = args.activation;
  g.activation_param = args.activation_param;
  g.activation_params = args.activation_params;
  g.batch = one_product ? 1 : args.batch;
  g.m = one_product ? args.batch * pixels : pixels;
  g.n = args.out_c;
  g.k = args.in_c;
  g.a_batch = pixels * args.in_c;
  g.a_row = rows_in ? args.in_c : 1;
  g.a_depth = rows_in ? 1 : pixels;
  g.out_batch = pixels * args.out_c;
  g.out_row = rows_out ? args.out_c : 1;
  g.out_column = rows_out ? 1 : pixels;
  if (args.skip == args.out) {
    g.beta = T(args.skip_scale);
  } else {
    g.skip = args.skip;
    g.skip_scale = T(args.skip_scale);
  }
  strassen_gemm(call);
}

}  // namespace

void strassen_conv2d(const StrassenConv2dArgs<float>& args) { run(args); }
void strassen_conv2d(const StrassenConv2dArgs<double>& args) { run(args); }

}  // namespace greenkernels::cpu
