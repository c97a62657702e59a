// int8_gemm of one instruction set: the stages, and a table of them for the host side.
#include "cpu/activation.inl"
#include "cpu/int8_convert.inl"
#include "cpu/int8_range.inl"
#include "cpu/int8_dot.inl"
#include "cpu/int8_output.inl"
#include "cpu/int8_panel.inl"
#include "cpu/int8_gemm/rows.inl"
#include "cpu/int8_gemm/weight.inl"

template <bool kVnni>
Int8Stages int8_stages_of() {
  using D = Dot<kVnni>;
  return {D::kRows, sizeof(typename D::Element), &pack_blocks<kVnni>, &int8_panel<kVnni>,
          &pack_panels<kVnni>};
}

#if GK_ISA_WIDTH == 1
inline Int8Stages int8_stages(bool) { return int8_stages_of<false>(); }
#else
inline Int8Stages int8_stages(bool has_vnni) {
  return has_vnni ? int8_stages_of<true>() : int8_stages_of<false>();
}
#endif
