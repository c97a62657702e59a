// winograd_conv2d of one instruction set: the three stages, and a table of them for the host side.
#include "cpu/activation.inl"
#include "cpu/conv_output.inl"
#include "cpu/sgemm_micro.inl"
#include "cpu/winograd_conv2d/transforms.inl"
#include "cpu/winograd_conv2d/input.inl"
#include "cpu/winograd_conv2d/output.inl"

// Stage 2: products[tap] = V[tap] * U[tap] of a part whose panels are all kWidth wide. A tap of a panel is
// read once from outside of L2, as the stream that is fetched ahead during the tap before, and then used for
// all blocks.
template <typename T, int kWidth, bool kStream, typename S>
void multiply_panels(const WinogradJob<T, S>& job, const WinogradPart& part, const T* v, T* products,
                     PrefetchList& ahead) {
  const int64_t depth = job.args.in_c, runs = depth / kPrefetchDepth, blocks = part.blocks();
  const int64_t tap_bytes = depth * kWidth * int64_t{sizeof(T)};
  for (int64_t tap = 0; tap < job.taps; ++tap) {
    for (int64_t block = 0; block < blocks; ++block) {
      const auto multiply = sgemm_micro<T, kWidth, false, kStream>(job.rows(part.block + block));
      const T* a = v + block * job.input_block_stride() + tap * job.input_tap_stride();
      T* out = products + block * job.product_block_stride() + tap * job.product_tap_stride();
      for (int64_t panel = part.panel; panel < part.panel_end; ++panel) {
        const T* u = job.packed_panel(panel) + tap * depth * kWidth;
        const PrefetchStream next = prefetch_part(u + depth * kWidth, tap_bytes, depth, block, blocks);
        multiply(a, u, nullptr, 0, out, depth, ahead.take(runs, next));
        out += blocks * job.product_block_stride();
      }
    }
  }
}

// A last panel of half the width is a part of its own.
template <typename T, typename S>
void winograd_multiply(const WinogradJob<T, S>& job, const WinogradPart& part, const T* v, T* products,
                       PrefetchList& ahead) {
  WinogradPart wide = part, half = part;
  if (job.panel_width(part.panel_end - 1) != kWinogradPanel) --wide.panel_end;
  half.panel = wide.panel_end;
  (job.plan.stream_weight ? &multiply_panels<T, kWinogradPanel, true, S>
                          : &multiply_panels<T, kWinogradPanel, false, S>)(job, wide, v, products, ahead);
  multiply_panels<T, kWinogradHalfPanel, false>(job, half, v, products + job.products_size(wide), ahead);
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
