// int8_winograd_conv2d of one instruction set: the stages, and a table of them for the host side.
#include "cpu/activation.inl"
#include "cpu/conv_output.inl"
#include "cpu/int8_convert.inl"
#include "cpu/int8_range.inl"
#include "cpu/int8_dot.inl"
#include "cpu/int8_output.inl"
#include "cpu/int8_panel.inl"
#include "cpu/int8_gemm/rows.inl"
#include "cpu/int8_winograd_conv2d/input.inl"
#include "cpu/int8_winograd_conv2d/output.inl"

template <bool kVnni>
Int8WinogradStages int8_winograd_stages_of() {
  using D = Dot<kVnni>;
  return {D::kRows, sizeof(typename D::Element), &winograd_input<kVnni>, &winograd_panel<kVnni>};
}

#if GK_ISA_WIDTH == 1
inline Int8WinogradStages int8_winograd_stages(bool) { return int8_winograd_stages_of<false>(); }
#else
inline Int8WinogradStages int8_winograd_stages(bool has_vnni) {
  return has_vnni ? int8_winograd_stages_of<true>() : int8_winograd_stages_of<false>();
}
#endif
