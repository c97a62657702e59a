// How an int8 Winograd convolution is cut into work: tiles into groups whose quantized taps stay in the L2
// cache, and whether threads share out groups or panels of the weight. A pure function of sizes, so that
// tests can check it.
#pragma once

#include <cstdint>

namespace greenkernels::cpu {

struct Int8WinogradProblem {
  int64_t tiles, in_c;    // of all images; tiles >= 1
  int64_t panels;         // of the weight, >= 1
  int64_t element_bytes;  // of quantized taps
  int64_t max_rows;       // of the micro-kernel
  int threads;
  int64_t l2_bytes;
};

struct Int8WinogradPlan {
  int64_t group;      // tiles transformed together before the panels of the weight are streamed past them
  bool panels_outer;  // one group of all tiles; threads share out the panels
};

Int8WinogradPlan int8_winograd_plan(const Int8WinogradProblem& problem);

}  // namespace greenkernels::cpu
