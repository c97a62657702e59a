// Tensors of the CPU in huge pages.
#pragma once

#include "cpu/huge_pages.h"
#include "ops/checks.h"

namespace greenkernels::ops {

inline const Tensor& with_huge_pages(const Tensor& out) {
  cpu::prefer_huge_pages(out.mutable_data_ptr(), out.numel() * int64_t(out.element_size()));
  return out;
}

}  // namespace greenkernels::ops
