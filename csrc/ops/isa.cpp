// torch.ops.greenkernels.set_isa, set_vnni and what they change: how tests force an instruction set, and
// reports name it.
#include "cpu/isa.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

namespace greenkernels::ops {
namespace {

std::string set_isa(const std::string& level) { return cpu::isa_name(cpu::set_isa(level)); }

std::string isa_levels() {
  std::string names;
  for (const cpu::Isa level : cpu::isa_levels()) {
    if (!names.empty()) names += ',';
    names += cpu::isa_name(level);
  }
  return names;
}

std::string current_isa() { return cpu::isa_name(cpu::isa()); }

bool vnni() { return cpu::vnni(); }

bool set_vnni(bool allowed) { return cpu::set_vnni(allowed); }

}  // namespace

// No tensor among the arguments, so there is no device to dispatch on.
STABLE_TORCH_LIBRARY_IMPL(greenkernels, CompositeExplicitAutograd, m) {
  m.impl("set_isa", TORCH_BOX(&set_isa));
  m.impl("isa_levels", TORCH_BOX(&isa_levels));
  m.impl("current_isa", TORCH_BOX(&current_isa));
  m.impl("vnni", TORCH_BOX(&vnni));
  m.impl("set_vnni", TORCH_BOX(&set_vnni));
}

}  // namespace greenkernels::ops
