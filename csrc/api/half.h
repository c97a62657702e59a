// Numbers of 16 bits that maps may be stored in. Kernels load them as float and round float to them, to
// nearest with ties to even; nothing is computed in them.
#pragma once

#include <cstdint>

namespace greenkernels {

struct BFloat16 {  // sign, 8 bits of exponent, 7 of fraction: the upper half of a float
  uint16_t bits;
};

struct Float16 {  // IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction
  uint16_t bits;
};

}  // namespace greenkernels
