// Feature maps, 4-D [batch, channels, h, w] tensors, as the kernels want them: dense in one of the two
// layouts.
#pragma once

#include "api/map_layout.h"
#include "ops/checks.h"

#include <array>

namespace greenkernels::ops {

using MapSizes = std::array<int64_t, 4>;  // batch, channels, h, w

// Dimensions from the innermost outwards.
inline constexpr std::array<int, 4> kNchwOrder = {3, 2, 1, 0}, kNhwcOrder = {1, 3, 2, 0};

inline const std::array<int, 4>& dim_order(MapLayout layout) {
  return layout == MapLayout::kNhwc ? kNhwcOrder : kNchwOrder;
}

inline double map_elements(const MapSizes& sizes) {
  return double(sizes[0]) * double(sizes[1]) * double(sizes[2]) * double(sizes[3]);
}

// Whether elements lie one after the other in this layout; the stride of a dimension of size 1 is never used.
inline bool is_dense(const Tensor& map, MapLayout layout) {
  const auto sizes = map.sizes(), strides = map.strides();
  int64_t expected = 1;
  for (const int d : dim_order(layout)) {
    if (sizes[d] == 0) return true;
    if (sizes[d] == 1) continue;
    if (strides[d] != expected) return false;
    expected *= sizes[d];
  }
  return true;
}

// The layout that torch reads from a tensor's strides (suggest_memory_format), by which its convolutions
// choose the output's. Where the strides fit both layouts, as for one channel or 1x1 maps, the comparisons
// below decide as torch's do.
inline MapLayout suggested_layout(const Tensor& map) {
  const auto sizes = map.sizes(), strides = map.strides();
  int64_t least = 0;
  if (strides[1] == 0) return MapLayout::kNchw;
  for (const int d : kNhwcOrder) {
    if (sizes[d] == 0 || strides[d] < least) return MapLayout::kNchw;
    if (d == 0 && least == strides[1]) return MapLayout::kNchw;
    least = strides[d] * (sizes[d] > 1 ? sizes[d] : 1);
  }
  return MapLayout::kNhwc;
}

// The layout in which the map is dense; where there is none, that of the copy to make.
inline MapLayout readable_layout(const Tensor& map) {
  for (const MapLayout layout : {MapLayout::kNchw, MapLayout::kNhwc}) {
    if (is_dense(map, layout)) return layout;
  }
  return suggested_layout(map);
}

// On the device of `like`.
inline Tensor empty_map(const char* op, const char* what, const MapSizes& sizes, MapLayout layout,
                        ScalarType dtype, const Tensor& like) {
  MapSizes strides;
  int64_t step = 1;
  bool fits = true;  // in 63 bits
  for (const int d : dim_order(layout)) {
    strides[d] = step;
    fits &= !__builtin_mul_overflow(step, sizes[d] > 1 ? sizes[d] : 1, &step);
  }
  const int32_t type = torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype));
  const double bytes = map_elements(sizes) * double(aoti_torch_dtype_element_size(type));
  return allocate(op, what, bytes, [&] {
    if (!fits) throw std::bad_alloc();
    int32_t device;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
    AtenTensorHandle handle;
    TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(4, sizes.data(), strides.data(), type, device,
                                                    like.is_cpu() ? 0 : like.get_device_index(), &handle));
    return Tensor(handle);
  });
}

// The tensor as `dtype`: itself where it is that already.
inline Tensor as_dtype(const char* op, const char* what, const Tensor& tensor, ScalarType dtype) {
  if (tensor.scalar_type() == dtype) return tensor;
  return allocate(op, what, double(tensor.numel()) * (dtype == ScalarType::Double ? 8 : 4),
                  [&] { return torch::stable::to(tensor, dtype); });
}

// The map as `dtype`, dense in `layout`: itself where it is that already.
inline Tensor as_dense_map(const char* op, const char* what, const Tensor& map, ScalarType dtype,
                           MapLayout layout) {
  const Tensor typed = as_dtype(op, what, map, dtype);
  if (is_dense(typed, layout)) return typed;
  using torch::headeronly::MemoryFormat;
  const auto format = layout == MapLayout::kNhwc ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  return allocate(op, what, double(typed.numel()) * double(typed.element_size()),
                  [&] { return torch::stable::contiguous(typed, format); });
}

// The tensor as `dtype` in row-major order: itself where it is that already.
inline Tensor as_contiguous(const char* op, const char* what, const Tensor& tensor, ScalarType dtype) {
  const Tensor typed = as_dtype(op, what, tensor, dtype);
  if (typed.is_contiguous()) return typed;
  return allocate(op, what, double(typed.numel()) * double(typed.element_size()),
                  [&] { return torch::stable::contiguous(typed); });
}

// Whether the memory that two tensors span has a byte in common.
inline bool overlaps(const Tensor& a, const Tensor& b) {
  const auto begin = [](const Tensor& t) { return static_cast<const char*>(t.const_data_ptr()); };
  const auto end = [&](const Tensor& t) {
    int64_t last = 0;
    for (int64_t d = 0; d < t.dim(); ++d) last += (t.size(d) - 1) * t.stride(d);
    return begin(t) + (last + 1) * int64_t(t.element_size());
  };
  return a.numel() > 0 && b.numel() > 0 && begin(a) < end(b) && begin(b) < end(a);
}

}  // namespace greenkernels::ops
