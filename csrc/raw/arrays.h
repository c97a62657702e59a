// Checks of numpy arrays, and allocation: what every kernel of greenkernels_raw needs. Wrong input is a
// ValueError.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <new>
#include <string>
#include <vector>

namespace greenkernels::raw {

namespace py = pybind11;

inline constexpr size_t kAlignment =
    64;  // bytes: what packed weights need, a cache line and an AVX-512 register

inline void require(bool condition, const std::string& message) {
  if (!condition) throw py::value_error(message);
}

inline std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) {
    text += text.empty() ? "[" : ", ";
    text += std::to_string(size);
  }
  return text.empty() ? "[]" : text + "]";
}

inline std::vector<int64_t> shape_of(const py::array& array) {
  return {array.shape(), array.shape() + array.ndim()};
}

// The elements of an array that must be C-contiguous and of type T. Nothing is converted: a copy would hide
// in timings.
template <typename T>
const T* data_of(const py::array& array, const char* name) {
  require(py::isinstance<py::array_t<T>>(array) && (array.flags() & py::array::c_style),
          std::string(name) + " must be a C-contiguous array of " +
              py::str(py::dtype::of<T>()).cast<std::string>() + ", got " +
              py::str(array.dtype()).cast<std::string>());
  return static_cast<const T*>(array.data());
}

template <typename T>
const T* data_of(const py::array& array, const char* name, const std::vector<int64_t>& shape) {
  require(shape_of(array) == shape,
          std::string(name) + " must be " + shape_text(shape) + ", got " + shape_text(shape_of(array)));
  return data_of<T>(array, name);
}

// An uninitialised array whose first element is aligned to kAlignment, which numpy's own need not be.
template <typename T>
py::array_t<T> empty(const std::vector<int64_t>& shape) {
  size_t bytes = sizeof(T);
  for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
  void* memory = ::operator new(bytes, std::align_val_t{kAlignment});
  const py::capsule owner(memory, [](void* data) { ::operator delete(data, std::align_val_t{kAlignment}); });
  return py::array_t<T>(shape, static_cast<T*>(memory), owner);
}

}  // namespace greenkernels::raw
