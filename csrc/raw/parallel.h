// The one knob of the std::thread pool in parallel.cpp.
#pragma once

namespace greenkernels::raw {

// Threads that the next parallel_for uses, the caller included. Throws std::invalid_argument below 1.
void set_num_threads(int count);

}  // namespace greenkernels::raw
