// Rows in 8 bits as the kernels with weights of a few bits quantize them, in double, and memory for packed
// weights.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace greenkernels::test {

// 64-byte aligned, as a packed weight has to be, and exactly as long as asked for.
struct Aligned {
  explicit Aligned(int64_t bytes)
      : data(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))) {}
  ~Aligned() { std::free(data); }
  uint8_t* data;
};

struct Row {
  std::vector<double> q;  // quantized, less the zero point
  double scale, zero;
};

inline Row quantized(const float* x, int64_t k) {
  float high = 0, low = 0;
  for (int64_t d = 0; d < k; ++d) high = std::max(high, x[d]), low = std::min(low, x[d]);
  const float scale = std::max(high / 255 - low / 255, 0x1p-126f), inverse = 1 / scale;
  const float zero = -std::nearbyint(low * inverse);
  Row row{std::vector<double>(k), scale, zero};
  for (int64_t d = 0; d < k; ++d) {
    row.q[d] = std::clamp(std::nearbyint(x[d] * inverse) + zero, 0.0f, 255.0f) - zero;
  }
  return row;
}

}  // namespace greenkernels::test
