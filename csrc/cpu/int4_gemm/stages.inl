// int4_gemm of one instruction set: the stages, and a table of them for the host side.
#include "cpu/activation.inl"
#include "cpu/map_elements.inl"  // before int8_convert.inl, whose to_float would hide that of 16-bit numbers
#include "cpu/int8_convert.inl"
#include "cpu/int8_range.inl"
#include "cpu/int4_gemm/nibbles.inl"
#include "cpu/int4_gemm/rows.inl"
#include "cpu/int4_gemm/weight.inl"
#include "cpu/int4_gemm/panel.inl"

#if GK_ISA_WIDTH == 1
inline Int4Stages int4_stages(bool) { return {&int4_pack_panels, &int4_pack_rows, &int4_panels<false>}; }
#else
inline Int4Stages int4_stages(bool has_vnni) {
  return {&int4_pack_panels, &int4_pack_rows, has_vnni ? &int4_panels<true> : &int4_panels<false>};
}
#endif
