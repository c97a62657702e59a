// Which of the numbers of api/half.h an array of 16-bit words holds, where that is known at run time alone.
#pragma once

namespace greenkernels {

enum class HalfFormat { kBFloat16, kFloat16 };

}  // namespace greenkernels
