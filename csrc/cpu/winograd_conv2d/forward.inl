// winograd_conv2d of one instruction set: the three stages, and a table of them for the host side.
#include "cpu/activation.inl"
#include "cpu/conv_output.inl"
#include "cpu/sgemm_micro.inl"
#include "cpu/winograd_conv2d/transforms.inl"
#include "cpu/winograd_conv2d/input.inl"
#include "cpu/winograd_conv2d/output.inl"

// Stage 2: products[tap] = V[tap] * U[tap] for the blocks [begin, end) and one panel. A tap of the panel is
// read once from outside of L1 and then used for all blocks.
template <typename T, int kWidth, typename S>
void multiply_panel(const WinogradJob<T, S>& job, int64_t panel, int64_t begin, int64_t end, const T* v,
                    T* products, PrefetchList& ahead) {
  const int64_t runs = job.args.in_c / kPrefetchDepth;
  const T* u = job.packed_panel(panel);
  for (int64_t tap = 0; tap < job.taps; ++tap, u += job.args.in_c * kWidth) {
    for (int64_t block = begin; block < end; ++block) {
      const T* a = v + (block - begin) * job.input_block_stride() + tap * job.input_tap_stride();
      T* out = products + (block - begin) * job.product_block_stride() + tap * job.product_tap_stride();
      sgemm_micro<T, kWidth>(job.rows(block))(a, u, nullptr, 0, out, job.args.in_c, ahead.take(runs));
    }
  }
}

template <typename T, typename S>
void winograd_multiply(const WinogradJob<T, S>& job, int64_t panel, int64_t begin, int64_t end, const T* v,
                       T* products, PrefetchList& ahead) {
  const bool wide = job.panel_width(panel) == kWinogradPanel;
  (wide ? &multiply_panel<T, kWinogradPanel, S>
        : &multiply_panel<T, kWinogradHalfPanel, S>)(job, panel, begin, end, v, products, ahead);
}

template <typename T, typename S>
WinogradStages<T, S> winograd_stages(int tile) {
  switch (tile) {
    case 2:
      return {kMicroRows, &winograd_input<T, 2, S>, &winograd_multiply<T, S>, &winograd_output<T, 2, S>};
    case 4:
      return {kMicroRows, &winograd_input<T, 4, S>, &winograd_multiply<T, S>, &winograd_output<T, 4, S>};
    default:
      return {kMicroRows, &winograd_input<T, 6, S>, &winograd_multiply<T, S>, &winograd_output<T, 6, S>};
  }
}
