// Checks and allocations of the torch boundary. Every error is a std::runtime_error that reads `op: argument
// must be X, got Y`: torch's own check macro would put the function and the build path before the message.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

namespace greenkernels::ops {

using torch::headeronly::IntHeaderOnlyArrayRef;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename... Parts>
[[noreturn]] void fail(const char* op, const Parts&... parts) {
  std::ostringstream text;
  text << op << ": ";
  (text << ... << parts);
  throw std::runtime_error(text.str());
}

// The parts are evaluated only on failure.
#define GK_CHECK(condition, op, ...)                              \
  do {                                                            \
    if (!(condition)) ::greenkernels::ops::fail(op, __VA_ARGS__); \
  } while (false)

inline std::string shape(IntHeaderOnlyArrayRef sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

inline std::string shape(const Tensor& tensor) { return shape(tensor.sizes()); }

// As Python spells it, without "torch.".
inline std::string dtype_name(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Bool:
      return "bool";
    case ScalarType::ComplexFloat:
      return "complex64";
    case ScalarType::ComplexDouble:
      return "complex128";
    default:
      return torch::headeronly::toString(dtype);
  }
}

// As Python spells it; a device that is neither has no kernels here.
inline std::string device_name(const Tensor& tensor) {
  if (tensor.is_cpu()) return "cpu";
  return tensor.is_cuda() ? "cuda:" + std::to_string(tensor.get_device_index()) : "another";
}

inline void check_device(const char* op, const char* name, const Tensor& tensor, const char* like_name,
                         const Tensor& like) {
  const bool on_cpu = tensor.is_cpu();  // where an index says nothing
  const bool same =
      on_cpu == like.is_cpu() && (on_cpu || tensor.get_device_index() == like.get_device_index());
  GK_CHECK(same, op, name, " must be on the device of ", like_name, ", ", device_name(like), ", got ",
           device_name(tensor));
}

// Rank, dtype and device of one argument; the last two are those of `like`, an argument named `like_name`.
inline void check_tensor(const char* op, const char* name, const Tensor& tensor, int64_t dim,
                         ScalarType dtype, const char* like_name, const Tensor& like) {
  GK_CHECK(tensor.dim() == dim, op, name, " must be ", dim, "-D, got shape ", shape(tensor));
  GK_CHECK(tensor.scalar_type() == dtype, op, name, " must be ", dtype_name(dtype), " as ", like_name,
           " is, got ", dtype_name(tensor.scalar_type()));
  check_device(op, name, tensor, like_name, like);
}

// Calls make(), which allocates `bytes` bytes for `what`; the shim that torch's own error comes through keeps
// none of its text.
template <typename Make>
auto allocate(const char* op, const char* what, double bytes, const Make& make) {
  try {
    return make();
  } catch (const std::exception&) {
    fail(op, "out of memory: could not allocate ", static_cast<int64_t>(bytes), " bytes for ", what);
  }
}

}  // namespace greenkernels::ops
