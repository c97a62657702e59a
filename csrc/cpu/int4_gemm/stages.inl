// int4_gemm of one instruction set: what its codes stand for, and a table of the stages for the host side.
#include "cpu/few_bits/stages.inl"

// 8 above the integer, so that it has no sign.
struct Int4Codes {
  using GemmArgs = Int4GemmArgs;
  using PackArgs = Int4PackArgs;
  static constexpr int kBits = 4, kOffset = 8;
  static constexpr int64_t kHead = 0;  // bytes in front of the panels
  static GK_INLINE Int4Codes of(const uint8_t*) { return {}; }
  template <int kField>
  GK_INLINE Quads quad(const uint8_t* p) const {
    return bit_field<kField, kBits>(p);
  }
  static uint8_t code_of(const Int4PackArgs& args, int64_t at) { return uint8_t(args.b[at] + kOffset); }
  static int value_of(const Int4PackArgs& args, int64_t at) { return args.b[at]; }
  static constexpr uint8_t kNone = kOffset;  // past the ends
};

inline Int4Stages int4_stages(bool has_vnni) { return few_bit_stages<Int4Codes>(has_vnni); }
