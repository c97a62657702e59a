// How a separable convolution is cut into work: whole maps where they stay in the caches, else
// pieces of rows, each through all its layers. Pure functions of sizes, so that tests can check them.
#pragma once

#include <cstdint>

#include "api/separable_conv2d.h"

namespace greenkernels::cpu {

struct SeparablePlan {
  bool whole;            // maps; the first two layers together, by chunks of channels
  int64_t chunk_panels;  // of them: panels of the expanding weight in a chunk
  int64_t band_rows;     // output rows that go through the last two layers together
  int64_t piece_rows;    // output rows whose hidden rows are computed together; a multiple of band_rows
  int64_t pieces;        // in an image
};

// Input rows [begin, end) under output rows, those outside of the map left out.
struct RowRange {
  int64_t begin, end;
};

SeparablePlan separable_plan(const SeparableConv2dArgs& args, int threads, int64_t l2_bytes);

RowRange rows_under(const SeparableConv2dArgs& args, int64_t out_begin, int64_t out_end);

}  // namespace greenkernels::cpu
