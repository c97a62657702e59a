// strassen_gemm on CUDA: the translation unit of cuda/strassen_gemm.
#include "cuda/strassen_gemm/bands.cuh"

namespace greenkernels::cuda {

int strassen_gemm_pack(const StrassenPackArgs<float>& args, void* stream) {
  return launch_strassen_pack<StrassenMatrix::kB>(args.weight, args.levels,
                                                  static_cast<cudaStream_t>(stream));
}

int strassen_gemm_pack(const StrassenPackArgs<double>& args, void* stream) {
  return launch_strassen_pack<StrassenMatrix::kB>(args.weight, args.levels,
                                                  static_cast<cudaStream_t>(stream));
}

int64_t strassen_gemm_scratch(const StrassenGemmArgs<float>& args) {
  return strassen_is_sgemm(args) ? sgemm_scratch(strassen_as_sgemm(args)) : strassen_scratch_of(args);
}

int64_t strassen_gemm_scratch(const StrassenGemmArgs<double>& args) {
  return strassen_is_sgemm(args) ? sgemm_scratch(strassen_as_sgemm(args)) : strassen_scratch_of(args);
}

int strassen_gemm(const StrassenGemmArgs<float>& args, float* scratch, void* stream) {
  if (strassen_is_sgemm(args)) return sgemm(strassen_as_sgemm(args), scratch, stream);
  return launch_strassen(args, scratch, static_cast<cudaStream_t>(stream));
}

int strassen_gemm(const StrassenGemmArgs<double>& args, double* scratch, void* stream) {
  if (strassen_is_sgemm(args)) return sgemm(strassen_as_sgemm(args), scratch, stream);
  return launch_strassen(args, scratch, static_cast<cudaStream_t>(stream));
}

}  // namespace greenkernels::cuda
