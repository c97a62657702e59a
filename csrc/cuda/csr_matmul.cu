// csr_matmul on CUDA: the translation unit of cuda/csr_matmul.
#include "cuda/csr_matmul/few_rows.cuh"
#include "cuda/csr_matmul/many_rows.cuh"

namespace greenkernels::cuda {

int64_t csr_matmul_scratch(const CsrShape& shape, int64_t m, int64_t element_bytes) {
  return CsrScratch::of(shape, m, element_bytes).size;
}

template <typename T, typename I>
int csr_matmul(const CsrCudaArgs<T, I>& args, void* scratch, void* stream) {
  const auto into = static_cast<cudaStream_t>(stream);
  return args.m <= kFewRows ? launch_few_rows(args, into) : launch_many_rows(args, scratch, into);
}

template <typename T, typename I>
int csr_matmul_values_grad(const CsrCudaValuesGradArgs<T, I>& args, void* scratch, void* stream) {
  return launch_values_grad(args, scratch, static_cast<cudaStream_t>(stream));
}

template int csr_matmul(const CsrCudaArgs<float, int32_t>&, void*, void*);
template int csr_matmul(const CsrCudaArgs<float, int64_t>&, void*, void*);
template int csr_matmul(const CsrCudaArgs<double, int32_t>&, void*, void*);
template int csr_matmul(const CsrCudaArgs<double, int64_t>&, void*, void*);
template int csr_matmul_values_grad(const CsrCudaValuesGradArgs<float, int32_t>&, void*, void*);
template int csr_matmul_values_grad(const CsrCudaValuesGradArgs<float, int64_t>&, void*, void*);
template int csr_matmul_values_grad(const CsrCudaValuesGradArgs<double, int32_t>&, void*, void*);
template int csr_matmul_values_grad(const CsrCudaValuesGradArgs<double, int64_t>&, void*, void*);

}  // namespace greenkernels::cuda
