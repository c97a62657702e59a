// codebook_gemm of one instruction set: what its codes stand for, and a table of the stages for the host
// side.
#include "cpu/few_bits/stages.inl"

// Places in a table of 16 bytes, 64 above the entries so that they have no sign; it stays in a register.
template <int kBitsOfCode, bool kVbmi>
struct CodebookCodes {
  using GemmArgs = CodebookGemmArgs;
  using PackArgs = CodebookPackArgs;
  static constexpr int kBits = kBitsOfCode, kOffset = -kCodebookLeast;
  static constexpr int64_t kHead = kCodebookHead;  // bytes in front of the panels
  Table table;
  static GK_INLINE CodebookCodes of(const uint8_t* head) { return {load_table(head)}; }
  template <int kField>
  GK_INLINE Quads quad(const uint8_t* p) const {
    return look_up<kField, kBits, kVbmi>(table, p);
  }
  static uint8_t code_of(const CodebookPackArgs& args, int64_t at) { return args.b[at]; }
  static int value_of(const CodebookPackArgs& args, int64_t at) { return args.table[args.b[at]]; }
  static constexpr uint8_t kNone = 0;  // past the ends, where rows of a are 0
};

template <int kBits>
CodebookStages codebook_stages_of(bool has_vnni, bool has_vbmi) {
#if GK_ISA_WIDTH == 16
  if (has_vbmi) return few_bit_stages<CodebookCodes<kBits, true>>(has_vnni);
#endif
  (void)has_vbmi;
  return few_bit_stages<CodebookCodes<kBits, false>>(has_vnni);
}

inline CodebookStages codebook_stages(int64_t bits, bool has_vnni, bool has_vbmi) {
  return bits == 2 ? codebook_stages_of<2>(has_vnni, has_vbmi) : codebook_stages_of<4>(has_vnni, has_vbmi);
}
