// int8_conv2d of one instruction set: the stages, and a table of them for the host side.
#include "cpu/activation.inl"
#include "cpu/conv_output.inl"
#include "cpu/int8_convert.inl"
#include "cpu/int8_range.inl"
#include "cpu/int8_dot.inl"
#include "cpu/int8_output.inl"
#include "cpu/int8_panel.inl"
#include "cpu/int8_conv2d/quantize.inl"
#include "cpu/int8_conv2d/gather.inl"
#include "cpu/int8_conv2d/output.inl"
#include "cpu/int8_conv2d/depthwise.inl"

inline FloatRange range_of(const float* x, int64_t count) { return find_range(x, count); }

template <bool kVnni>
Int8ConvStages int8_conv_stages_of() {
  using D = Dot<kVnni>;
  return {D::kRows,           sizeof(typename D::Element), &range_of, &quantize_rows, &gather_blocks<kVnni>,
          &conv_panel<kVnni>, &depthwise_units<kVnni>};
}

#if GK_ISA_WIDTH == 1
inline Int8ConvStages int8_conv_stages(bool) { return int8_conv_stages_of<false>(); }
#else
inline Int8ConvStages int8_conv_stages(bool has_vnni) {
  return has_vnni ? int8_conv_stages_of<true>() : int8_conv_stages_of<false>();
}
#endif
