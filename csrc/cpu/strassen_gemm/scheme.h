// Which blocks each product of Strassen's algorithm sums and where it goes. Pure functions, so that tests can
// check them.
#pragma once

#include <vector>

#include "api/strassen_gemm.h"

namespace greenkernels::cpu {

// sign * the block in row `row` and column `column` of a matrix cut into 2^levels x 2^levels blocks. Columns
// of a and b are blocks of the depth, as both are stored; of the output they are blocks of n.
struct StrassenTerm {
  int row, column, sign;
};

struct StrassenProduct {
  std::vector<StrassenTerm> a, b, out;  // at most 2^levels each
};

// The products, in the order in which they are to be done: those of the outer level outermost.
std::vector<StrassenProduct> strassen_scheme(int levels);

}  // namespace greenkernels::cpu
