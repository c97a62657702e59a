// One 16-bit number to float and back without instructions for it: what the scalar level uses, and the tests
// as their reference. Right with denormal numbers flushed to zero, as kernels run: no float here is denormal
// but those that are 0 to them anyway.
#pragma once

#include <bit>

#include "api/half.h"

namespace greenkernels::cpu {

inline float to_float(BFloat16 x) { return std::bit_cast<float>(uint32_t{x.bits} << 16); }

inline float to_float(Float16 x) {
  const uint32_t sign = uint32_t{x.bits} << 16 & 0x8000'0000, magnitude = x.bits & 0x7fff;
  if (magnitude < 0x0400) {  // 0 and subnormals: multiples of 2^-24
    const float value = float(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  const uint32_t rebias =
      magnitude < 0x7c00 ? (127 - 15) << 23 : (255 - 31) << 23;  // infinity and NaN stay such
  return std::bit_cast<float>(sign | ((magnitude << 13) + rebias));
}

inline BFloat16 to_bfloat16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if (x != x) return {uint16_t(bits >> 16 | 0x0040)};  // a NaN stays one, and quiet
  return {uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

inline Float16 to_float16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000,
                 magnitude = bits & 0x7fff'ffff;
  if (x != x) return {uint16_t(sign | 0x7e00 | (magnitude >> 13 & 0x03ff))};
  if (magnitude >= 0x477f'f000) return {uint16_t(sign | 0x7c00)};  // from 65520 on the nearest is infinity
  if (magnitude < 0x3880'0000) {  // below 2^-14: the last bit of x + 0.5 is worth 2^-24, as a subnormal's is
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)))};
  }
  const uint32_t rounded = magnitude + 0x0fff + (magnitude >> 13 & 1);
  return {uint16_t(sign | ((rounded - ((127 - 15) << 23)) >> 13))};
}

}  // namespace greenkernels::cpu
