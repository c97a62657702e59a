// How sgemm is cut into work: shares for threads and blocks for caches. Pure functions of sizes, so that
// tests can check them.
#pragma once

#include "cpu/isa.h"
#include "cpu/sgemm/product.h"

namespace greenkernels::cpu {

struct SgemmSizes {
  int64_t m, n, k;
  bool packed;  // b is
};

struct SgemmPlan {
  int64_t rows, columns;  // the output is cut into rows x columns shares
  bool pack_first;        // all threads pack b before the shares begin; else each share packs what it needs
};

// The plan that is done first on up to `threads` threads, by a count of multiplications and of elements
// moved. Shares are several a thread, so that a slow core holds up little.
SgemmPlan sgemm_plan(const SgemmSizes& sizes, int64_t max_rows, int64_t threads);

// Share i of `plan`; columns begin at multiples of kSgemmPanel, and sizes differ by one panel at most.
SgemmShare sgemm_share(const SgemmSizes& sizes, const SgemmPlan& plan, int64_t i);

// Columns of b that are packed at a time where it is packed first.
int64_t sgemm_columns_packed(int64_t k, int64_t element_bytes);

SgemmBlocks sgemm_blocks(int64_t element_bytes, int64_t max_rows, const CacheSizes& caches);

// Scratch for the largest share.
SgemmScratch sgemm_scratch(const SgemmSizes& sizes, const SgemmPlan& plan, const SgemmBlocks& blocks);

}  // namespace greenkernels::cpu
