// Huge pages for large buffers: fewer page faults on first use and fewer misses when a kernel walks along
// rows.
#pragma once

#include <cstdint>

namespace greenkernels::cpu {

inline constexpr int64_t kHugePage = int64_t{2} << 20;

// Tells the system that [data, data + bytes) would like huge pages. A wish: contents stay, and where it
// cannot be granted nothing happens. Buffers below two huge pages are left alone. Measured: a 34.7 MB output
// of a convolution, fresh on each call, 20.9 -> 16.3 ms (Sapphire Rapids class, 1 thread).
void prefer_huge_pages(void* data, int64_t bytes);

}  // namespace greenkernels::cpu
