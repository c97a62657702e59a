// What csr_matmul fetches while it multiplies.
#pragma once

#include "cpu/prefetch.h"

namespace greenkernels::cpu {

// The cache lines of out that a tile will be written to, each a row apart from the next, so that the
// processor fetches none by itself: fetched into the L2 cache while the tile is multiplied, one for every row
// of a block.
struct CsrOutAhead {
  const char* line;  // the next one; no address can fault
  int64_t step;      // bytes from a row of out to the next
  int64_t rows;
  int64_t row_left;  // rows until the last one of this column of lines
  int64_t left;      // lines

  void row() {
    if (left == 0) return;
    __builtin_prefetch(line, 0, 2);
    --left;
    line += step;
    if (--row_left == 0) {
      row_left = rows;
      line += kCacheLine - rows * step;
    }
  }
};

}  // namespace greenkernels::cpu
