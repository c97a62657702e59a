// What a status that a CUDA launcher returned means. A part of the contracts with a namespace cuda.
#pragma once

namespace greenkernels::cuda {

// In CUDA's words, for a cudaError_t.
const char* status_text(int status);

}  // namespace greenkernels::cuda
