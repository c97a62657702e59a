// Outputs on memory of outputs that are gone. Memory that is new to a process costs a page fault for every
// 4 KiB of it, together as much time as a fast convolution of a small map takes, and malloc gives memory back
// to the system as soon as a few such outputs are free.
#pragma once

#include "ops/maps.h"

namespace greenkernels::ops {

// Like empty_map, on the CPU. The memory of the tensor is kept when it goes, for the next output of that size
// or a little less; of all such memory at most kKeptBytes, the oldest goes first. As torch hands out memory
// that is not its own from 2.11 on, the tensor is an ordinary one before that, and so are small ones, which
// malloc keeps by itself, and those of more than half of kKeptBytes.
//
// The storage of such a tensor cannot be resized.
Tensor output_map(const char* op, const MapSizes& sizes, MapLayout layout, ScalarType dtype,
                  const Tensor& like);

inline constexpr int64_t kKeptBytes = int64_t{256} << 20;

}  // namespace greenkernels::ops
