// What matrix product ops share on the CPU: scratch memory, packed weights, huge pages.
#pragma once

#include "ops/gemm_call.h"
#include "ops/huge_pages.h"

namespace greenkernels::ops {

// Runs body, which may ask for scratch memory.
template <typename Body>
void with_scratch(const char* op, const Body& body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    fail(op, "out of memory: could not allocate scratch memory");
  }
}

// An aligned packed weight: torch's memory is, a view or a mapped file need not be.
inline Tensor aligned(const char* op, const Tensor& packed) {
  if (reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 64 == 0) return packed;
  return allocate(op, "an aligned copy of packed", double(packed.numel()) * double(packed.element_size()),
                  [&] { return torch::stable::clone(packed); });
}

// A packed weight of `size` elements; pack(args) gets SgemmPackArgs of float or of double.
template <typename Pack>
Tensor pack_matrix(const char* op, const Tensor& b, int64_t size, const Pack& pack) {
  const ScalarType dtype = b.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const Tensor plain = readable_matrix(op, "a copy of b", b, dtype);
  Tensor packed = allocate(op, "the packed weight", double(size) * (dtype == ScalarType::Double ? 8 : 4),
                           [&] { return torch::stable::new_empty(plain, {size}); });
  if (size == 0) return packed;
  cpu::prefer_huge_pages(packed.mutable_data_ptr(), size * int64_t(packed.element_size()));
  const MatrixStrides strides = strides_of(plain);
  with_compute_type(dtype, [&](auto type) {
    using T = decltype(type);
    pack(SgemmPackArgs<T>{static_cast<const T*>(plain.const_data_ptr()),
                          static_cast<T*>(packed.mutable_data_ptr()), strides.row, strides.depth, b.size(0),
                          b.size(1)});
  });
  return packed;
}

}  // namespace greenkernels::ops
