// CUTLASS's int8 products for compute capability 8.0, as its own profiler lists them. Both operands have
// stride 1 along the depth, out is row-major int32.
#include <cutlass/gemm/device/gemm.h>

namespace {

using namespace cutlass;

template <int kM, int kN, int kK, int kStages>
using Int8 =
    gemm::device::Gemm<int8_t, layout::RowMajor, int8_t, layout::ColumnMajor, int32_t, layout::RowMajor,
                       int32_t, arch::OpClassTensorOp, arch::Sm80, gemm::GemmShape<kM, kN, kK>,
                       gemm::GemmShape<64, 64, kK>, gemm::GemmShape<16, 8, 32>,
                       epilogue::thread::LinearCombination<int32_t, 4, int32_t, int32_t>,
                       gemm::threadblock::GemmIdentityThreadblockSwizzle<>, kStages>;

using Int8Square = Int8<128, 128, 64, 4>::GemmKernel;
using Int8Tall = Int8<256, 128, 64, 3>::GemmKernel;
using Int8Deep = Int8<128, 128, 128, 3>::GemmKernel;

}  // namespace

template __global__ void cutlass::Kernel<Int8Square>(Int8Square::Params);
template __global__ void cutlass::Kernel<Int8Tall>(Int8Tall::Params);
template __global__ void cutlass::Kernel<Int8Deep>(Int8Deep::Params);
