// The stages of a kernel with a weight of few bits, in one instruction set, and the table of them.
#include "cpu/activation.inl"
#include "cpu/map_elements.inl"  // before int8_convert.inl, whose to_float would hide that of 16-bit numbers
#include "cpu/int8_convert.inl"
#include "cpu/int8_range.inl"
#include "cpu/few_bits/quads.inl"
#include "cpu/few_bits/rows.inl"
#include "cpu/few_bits/weight.inl"
#include "cpu/few_bits/panel.inl"

template <typename Codes>
FewBitStages<typename Codes::GemmArgs, typename Codes::PackArgs> few_bit_stages(bool has_vnni) {
#if GK_ISA_WIDTH == 1
  (void)has_vnni;
  return {&pack_few_bit_panels<Codes>, &quantize_few_bit_rows<Codes>, &few_bit_panels<Codes, false>};
#else
  return {&pack_few_bit_panels<Codes>, &quantize_few_bit_rows<Codes>,
          has_vnni ? &few_bit_panels<Codes, true> : &few_bit_panels<Codes, false>};
#endif
}
