// CUTLASS's float32 convolutions for compute capability 8.0: implicit matrix products by FMA, maps in
// channels_last, as its own profiler lists them. It has no Winograd kernel.
#include <cutlass/conv/device/implicit_gemm_convolution.h>
#include <cutlass/conv/kernel/default_conv2d_fprop.h>

namespace {

using namespace cutlass;

template <int kM, int kN, int kK, int kWarpM, int kWarpN, int kStages>
using Fprop = typename conv::kernel::DefaultConv2dFprop<
    float, layout::TensorNHWC, float, layout::TensorNHWC, float, layout::TensorNHWC, float, arch::OpClassSimt,
    arch::Sm80, gemm::GemmShape<kM, kN, kK>, gemm::GemmShape<kWarpM, kWarpN, kK>, gemm::GemmShape<1, 1, 1>,
    epilogue::thread::LinearCombination<float, 1, float, float>,
    gemm::threadblock::GemmIdentityThreadblockSwizzle<>, kStages, arch::OpMultiplyAdd,
    conv::IteratorAlgorithm::kOptimized, conv::StrideSupport::kStrided, 1, 1>::Kernel;

using Fprop128 = Fprop<128, 128, 8, 32, 64, 4>;
using Fprop256 = Fprop<256, 128, 8, 64, 64, 4>;

}  // namespace

template __global__ void cutlass::Kernel<Fprop128>(Fprop128::Params);
template __global__ void cutlass::Kernel<Fprop256>(Fprop256::Params);
