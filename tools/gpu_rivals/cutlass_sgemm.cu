// CUTLASS's float32 products for compute capability 8.0, as its own profiler lists them: FMA, and three
// products of TF32. Both operands have stride 1 along the depth, out is row-major.
#include <cutlass/gemm/device/gemm.h>

namespace {

using namespace cutlass;

template <int kM, int kN, int kK, int kWarpM, int kWarpN, int kStages>
using Simt = gemm::device::Gemm<float, layout::RowMajor, float, layout::ColumnMajor, float, layout::RowMajor,
                                float, arch::OpClassSimt, arch::Sm80, gemm::GemmShape<kM, kN, kK>,
                                gemm::GemmShape<kWarpM, kWarpN, kK>, gemm::GemmShape<1, 1, 1>,
                                epilogue::thread::LinearCombination<float, 1, float, float>,
                                gemm::threadblock::GemmIdentityThreadblockSwizzle<>, kStages>;

using Simt128 = Simt<128, 128, 8, 32, 64, 4>::GemmKernel;
using Simt256 = Simt<256, 128, 8, 64, 64, 4>::GemmKernel;

}  // namespace

template __global__ void cutlass::Kernel<Simt128>(Simt128::Params);
template __global__ void cutlass::Kernel<Simt256>(Simt256::Params);
