// How sgemm is cut into work: shares for threads and blocks for caches. Pure functions of sizes, so that
// tests can check them.
#pragma once

#include "cpu/isa.h"
#include "cpu/sgemm/product.h"

namespace greenkernels::cpu {

struct SgemmSizes {
  int64_t batch, m, n, k;
  bool packed;  // b is
  int64_t element_bytes;
};

// The output of an item is cut into rows x columns shares; all items are cut alike.
struct SgemmSplit {
  int64_t rows, columns;
};

// The split for up to `threads` threads that is done first, by a count of multiplications and of elements
// packed.
SgemmSplit sgemm_split(const SgemmSizes& sizes, int64_t max_rows, int64_t threads);

// Share i of `split`; columns begin at multiples of kSgemmPanel, and sizes differ by one panel at most.
SgemmShare sgemm_share(const SgemmSizes& sizes, const SgemmSplit& split, int64_t i);

SgemmBlocks sgemm_blocks(int64_t element_bytes, int64_t max_rows, const CacheSizes& caches);

// Scratch for the largest share.
SgemmScratch sgemm_scratch(const SgemmSizes& sizes, const SgemmSplit& split, const SgemmBlocks& blocks);

}  // namespace greenkernels::cpu
