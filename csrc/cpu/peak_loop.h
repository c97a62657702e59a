// What this CPU can do at most: loops of nothing but multiply-adds, and reads of nothing but memory. A part,
// not a kernel: the measuring code times them beside each case, since the clock of a core changes by the
// minute.
#pragma once

#include <cstdint>
#include <string>

namespace greenkernels::cpu {

enum class PeakLoop {
  kFma,   // float32 multiply-add, at the level in use
  kVnni,  // sums of four 8-bit products (vpdpbusd; SDOT on Arm)
  kBf16,  // sums of two bfloat16 products (vdpbf16ps)
};

const char* peak_loop_name(PeakLoop loop);

// Whether this CPU has the instruction and the level in use does not forbid it. Always true for kFma.
bool has_peak_loop(PeakLoop loop);

// Runs `rounds` rounds of the loop on each thread that parallel_for may use, and returns the operations done
// by all of them; a multiply-add is two. The caller takes the time. Needs has_peak_loop(loop).
int64_t run_peak_loop(PeakLoop loop, int64_t rounds);

// The sum of data[0, count) modulo 2^64, shared out over the threads: every byte is read once.
uint64_t read_memory(const uint64_t* data, int64_t count);

}  // namespace greenkernels::cpu
