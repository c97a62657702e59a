// The check of `levels` that the ops on Strassen's algorithm share.
#pragma once

#include "api/strassen_gemm.h"

#include "ops/checks.h"

namespace greenkernels::ops {

inline void check_levels(const char* op, int64_t levels) {
  GK_CHECK(levels >= 0 && levels <= kMaxStrassenLevels, op, "levels must be 0 to ", kMaxStrassenLevels,
           ", got ", levels);
}

}  // namespace greenkernels::ops
