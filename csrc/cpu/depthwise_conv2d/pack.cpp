// depthwise_conv2d_pack on the CPU: a transposition. Plain loops: a weight is small and packed once.
#include "api/depthwise_conv2d.h"

namespace greenkernels::cpu {

namespace {

template <typename T>
void run(const DepthwisePackArgs<T>& args) {
  const DepthwiseFilter& filter = args.filter;
  const int64_t taps = filter.taps(), padded = filter.padded_channels();
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t c = 0; c < padded; ++c) {
      args.packed[tap * padded + c] = c < filter.channels ? args.weight[c * taps + tap] : T(0);
    }
  }
}

}  // namespace

void depthwise_conv2d_pack(const DepthwisePackArgs<float>& args) { run(args); }
void depthwise_conv2d_pack(const DepthwisePackArgs<double>& args) { run(args); }

}  // namespace greenkernels::cpu
