// How one sparse product is cut into work. Pure functions of sizes, so that tests can check them.
#pragma once

#include <cstdint>

#include "api/csr_matmul.h"

namespace greenkernels::cpu {

// The widest strip of x: 4 lines of 16 rows. Each nonzero costs a load for itself and one for each line, so
// wider is better, until a block of columns that fits in L1 leaves too few nonzeros to a row. Measured at
// n = k = 2048, m = 256, 50 to 98 % zeros: 4 lines with blocks of 128 columns beat 1, 2 and 8 lines with
// blocks of 64 to 512, or are within 2 % of the best (Intel 6/207, 1 thread).
inline constexpr int64_t kCsrMaxLines = 4;

struct CsrPlan {
  int64_t lines;    // of 16 rows of x, together m rows
  int64_t strips;   // lines are cut into this many strips of at most kCsrMaxLines, differing by at most 1
  bool own_strips;  // threads take whole strips; otherwise stretches of their tiles
};

CsrPlan csr_plan(int64_t m, int threads);

// The lines of strip i: [csr_first_line(plan, i), csr_first_line(plan, i + 1)).
inline int64_t csr_first_line(const CsrPlan& plan, int64_t i) { return plan.lines * i / plan.strips; }

// The first row of share i of `shares` that have about the same number of nonzeros.
int64_t csr_first_row(const int64_t* crow_indices, int64_t n, int64_t i, int64_t shares);

}  // namespace greenkernels::cpu
