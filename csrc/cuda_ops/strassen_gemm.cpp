// strassen_gemm on CUDA tensors: the ops and their registration.
#include "api/strassen_gemm.h"

#include <type_traits>

#include "cuda_ops/gemm_run.h"
#include "ops/strassen_levels.h"

namespace greenkernels::ops {
namespace {

constexpr const char* kOp = "strassen_gemm";
constexpr const char* kPackOp = "strassen_gemm_pack";
constexpr const char* kPackedOp = "strassen_gemm_packed";

using OptionalString = std::optional<std::string>;

// A packed weight as kernels copy it, 16 bytes at a time: torch's memory is aligned, a view need not be.
Tensor aligned(const char* op, const Tensor& packed) {
  if (reinterpret_cast<uintptr_t>(packed.const_data_ptr()) % 16 == 0) return packed;
  return allocate(op, "an aligned copy of packed", double(packed.numel()) * double(packed.element_size()),
                  [&] { return torch::stable::clone(packed); });
}

// out = act(a b^T + bias) with b or with packed, whichever is there.
Tensor multiply(const GemmCall& call, const OptionalTensor& b, const OptionalTensor& packed, int64_t levels) {
  return gemm_on_cuda<float, double>(
      call, b, [&](const auto& gemm, const CudaCall& device, const Tensor& out) {
        using T = std::remove_const_t<std::remove_pointer_t<decltype(gemm.out)>>;
        StrassenGemmArgs<T> args{gemm, int(levels)};
        if (packed) args.gemm.packed = static_cast<const T*>(device.use(*packed).const_data_ptr());
        OptionalTensor scratch;
        if (const int64_t count = cuda::strassen_gemm_scratch(args); count > 0) {
          scratch = cuda_memory<T>(device.op(), "scratch memory", count, out, device);
        }
        T* memory = scratch ? static_cast<T*>(scratch->mutable_data_ptr()) : nullptr;
        return cuda::strassen_gemm(args, memory, device.stream());
      });
}

// Entry points, in the order of the schemas of greenkernels/ops/strassen_gemm_op.py.

Tensor strassen_gemm_pack(const Tensor& b, int64_t levels) {
  GK_CHECK(b.dim() == 2, kPackOp, "b must be 2-D, got shape ", shape(b));
  check_float(kPackOp, "b", b);
  check_levels(kPackOp, levels);
  const int64_t n = b.size(0), k = b.size(1), size = strassen_packed_size(n, k, int(levels));
  const ScalarType dtype = b.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const CudaCall device(kPackOp, b);
  const Tensor plain = device.use(readable_matrix(kPackOp, "a copy of b", b, dtype));
  Tensor packed;
  with_compute_type(dtype, [&](auto type) {
    using T = decltype(type);
    packed = cuda_memory<T>(kPackOp, "the packed weight", size, b, device);
    const MatrixStrides strides = strides_of(plain);
    const SgemmPackArgs<T> weight{static_cast<const T*>(plain.const_data_ptr()),
                                  static_cast<T*>(packed.mutable_data_ptr()),
                                  strides.row,
                                  strides.depth,
                                  n,
                                  k};
    device.check(cuda::strassen_gemm_pack(StrassenPackArgs<T>{weight, int(levels)}, device.stream()));
  });
  return packed;
}

Tensor strassen_gemm(const Tensor& a, const Tensor& b, const OptionalTensor& bias, int64_t levels,
                     const OptionalString& activation, const OptionalTensor& activation_param) {
  check_a(kOp, a, 2);
  check_b(kOp, a, b, 2);
  check_levels(kOp, levels);
  return multiply({kOp, a, b.size(0), bias, activation, activation_param}, b, {}, levels);
}

Tensor strassen_gemm_packed(const Tensor& a, const Tensor& packed, const OptionalTensor& bias, int64_t n,
                            int64_t levels, const OptionalString& activation,
                            const OptionalTensor& activation_param) {
  check_a(kPackedOp, a, 2);
  check_levels(kPackedOp, levels);
  const GemmCall call{kPackedOp, a, n, bias, activation, activation_param};
  check_packed_b(call, packed, strassen_packed_size(n, a.size(1), int(levels)));
  return multiply(call, {}, aligned(kPackedOp, packed), levels);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(GK_CUDA_LIBRARY, GK_CUDA_KEY, m) {
  m.impl("strassen_gemm_pack", TORCH_BOX(&strassen_gemm_pack));
  m.impl("strassen_gemm", TORCH_BOX(&strassen_gemm));
  m.impl("strassen_gemm_packed", TORCH_BOX(&strassen_gemm_packed));
}

}  // namespace greenkernels::ops
