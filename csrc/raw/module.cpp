// greenkernels_raw: the kernels on numpy arrays with no torch, for micro-benchmarks and kernel research.
#include <pybind11/pybind11.h>

#include "raw/module.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "raw/parallel.h"

namespace greenkernels::raw {

// "isa_levels" and the rest that belongs to no kernel. Each kernel file adds its own functions.
PYBIND11_MODULE(greenkernels_raw, module) {
  module.doc() = "The kernels of greenkernels on numpy arrays.";
  module.def(
      "isa_levels",
      [] {
        pybind11::list names;
        for (const cpu::Isa level : cpu::isa_levels()) names.append(cpu::isa_name(level));
        return names;
      },
      "The instruction set levels of this CPU, ascending.");
  module.def(
      "set_isa", [](const std::string& level) { return cpu::isa_name(cpu::set_isa(level)); },
      pybind11::arg("level"), "Forces a level; returns the one before.");
  module.def("num_threads", &cpu::num_threads, "Threads that a kernel uses.");
  module.def("set_num_threads", &set_num_threads, pybind11::arg("count"),
             "Sets how many threads a kernel uses.");
  for (const auto& define : kernels()) define(module);
}

}  // namespace greenkernels::raw
