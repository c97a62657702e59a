// How one int8 GEMM is cut into work: rows into blocks for the micro-kernel, blocks into groups that stay in
// the L2 cache, and which loop is outermost. A pure function of sizes, so that tests can check it.
#pragma once

#include <cstdint>

namespace greenkernels::cpu {

struct Int8Problem {
  int64_t m, n, k;        // m and n >= 1
  int64_t element_bytes;  // of packed rows of a
  int64_t max_rows;       // of the micro-kernel
  int threads;
  int64_t l2_bytes;
};

struct Int8Plan {
  int64_t blocks;      // rows are cut into this many blocks, sizes differing by at most 1
  int64_t max_rows;    // of the largest block
  int64_t group;       // blocks packed together before the panels of the weight are streamed past them
  bool panels_outer;   // all rows are packed first; threads then share out the panels
  int64_t pack_grain;  // least number of blocks whose packing is worth a thread
  int64_t grain;       // the same for blocks, or for panels where they are outermost, and their products
};

Int8Plan int8_plan(const Int8Problem& problem);

}  // namespace greenkernels::cpu
