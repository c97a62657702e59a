// CUTLASS's float32 products by three products of TF32 for compute capability 8.0. Both operands have stride
// 1 along the depth, out is row-major.
#include <cutlass/gemm/device/gemm.h>

namespace {

using namespace cutlass;

template <int kM, int kN, int kK, int kWarpM, int kWarpN, int kStages>
using Tensor = gemm::device::Gemm<
    float, layout::RowMajor, float, layout::ColumnMajor, float, layout::RowMajor, float,
    arch::OpClassTensorOp, arch::Sm80, gemm::GemmShape<kM, kN, kK>, gemm::GemmShape<kWarpM, kWarpN, kK>,
    gemm::GemmShape<16, 8, 8>, epilogue::thread::LinearCombination<float, 4, float, float>,
    gemm::threadblock::GemmIdentityThreadblockSwizzle<>, kStages, 4, 4, false, arch::OpMultiplyAddFastF32>;

using Tensor128 = Tensor<128, 128, 16, 64, 32, 4>::GemmKernel;
using Tensor64 = Tensor<128, 64, 16, 64, 32, 3>::GemmKernel;

}  // namespace

template __global__ void cutlass::Kernel<Tensor128>(Tensor128::Params);
template __global__ void cutlass::Kernel<Tensor64>(Tensor64::Params);
