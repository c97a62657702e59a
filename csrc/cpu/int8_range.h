// The range of float values, and the scale and zero point by which it fills [0, 255], as api/int8_gemm.h
// says.
#pragma once

#include <algorithm>
#include <cmath>

namespace greenkernels::cpu {

struct FloatRange {
  float high, depth;  // the largest value and minus the smallest one, at least 0 both
  bool finite;        // no value was a NaN or an infinity
};

inline FloatRange merge(const FloatRange& a, const FloatRange& b) {
  return {std::max(a.high, b.high), std::max(a.depth, b.depth), a.finite && b.finite};
}

struct Quantizer {
  float scale, inverse, zero;
};

inline Quantizer quantizer_of(const FloatRange& range) {
  if (!range.finite) return {std::nanf(""), 0, 0};
  const float step = range.high / 255 + range.depth / 255;
  const float scale = step > 0x1p-126f ? step : 0x1p-126f;
  return {scale, 1 / scale, std::nearbyint(range.depth * (1 / scale))};
}

}  // namespace greenkernels::cpu
