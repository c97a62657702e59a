// How a kernel gets into greenkernels_raw without a list of kernels: a static Registration in its own file.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

namespace greenkernels::raw {

using Define = void (*)(pybind11::module_& module);

inline std::vector<Define>& kernels() {
  static std::vector<Define> list;
  return list;
}

struct Registration {
  explicit Registration(Define define) { kernels().push_back(define); }
};

}  // namespace greenkernels::raw
