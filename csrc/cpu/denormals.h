// Denormal numbers count as zero while a FlushDenormals lives, on the thread that made it.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace greenkernels::cpu {

// One FMA that meets a denormal costs some 150 cycles instead of 4 (microcode assist). Trained networks have whole filters
// of weights near 1e-34 (weight decay on dead channels), whose products are denormal: a layer of demosaicnet took 61 ms for
// 7 (tile 6, 64 to 64 channels, 150 x 226, Xeon with AVX-512), depending on the picture. What is lost is below 1e-38.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero); }
  ~FlushDenormals() { _mm_setcsr(before_); }
#else
  FlushDenormals() = default;
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

#if defined(__SSE2__)
 private:
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;  // bits of MXCSR
  unsigned before_;
#endif
};

}  // namespace greenkernels::cpu
