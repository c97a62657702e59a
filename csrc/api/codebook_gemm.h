// GEMM with a weight of shared values: 8-bit integers of quantized rows times entries of a codebook, of which
// the weight holds the places in 2 or 4 bits, one scale for each group of the depth. The contract every
// backend obeys, with g(d) = d / group:
//
//   out[i, j] = act(row_scale[i] * (sum over d of scale[j, g(d)] * (qa[i, d] - zero_point[i]) *
//   table[b[j, d]]) + bias[j])
//
// table is in [-64, 63]: two products of a row's 8 bits with 7 bits fit in 16, so that all instruction sets
// add them up exactly. qa, row_scale and zero_point are those of api/int4_gemm.h; so is what comes of a row
// that holds a NaN, and so are the roundings.
//
// Sources: Han et al., "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization
// and Huffman Coding", ICLR 2016 (weights that share values); Wei et al., "T-MAC: CPU Renaissance via Table
// Lookup for Low-Bit LLM Deployment on Edge", EuroSys 2025 (tables in registers, read by byte shuffles).
#pragma once

#include <cstdint>

#include "api/activation.h"

namespace greenkernels {

inline constexpr int64_t kCodebookPanel = 32;                   // rows of b in a panel
inline constexpr int64_t kCodebookHead = 64;                    // bytes in front of the panels
inline constexpr int kCodebookLeast = -64, kCodebookMost = 63;  // entries of the table

inline constexpr bool codebook_bits_fit(int64_t bits) { return bits == 2 || bits == 4; }
inline constexpr bool codebook_group_fits(int64_t group) {
  return group >= 32 && group <= 1024 && (group & (group - 1)) == 0;
}

// The packed weight: uint8 [16], table + 64, over and over where it has 4 entries, and 48 zeros; then panels
// of kCodebookPanel rows of b, each, for every group of the depth,
//   uint16 [kCodebookPanel], the scales as bfloat16, then uint8 [group * bits / 32][kCodebookPanel][4]: in
//   the bits [bits * f, bits * (f + 1)) of byte i, b of element 4 * f + i of so many of the depth,
// and behind the groups float [kCodebookPanel], the sum of scale * table[b] over the row. Past the ends of b
// it is 0. One layout for all instruction sets, so that a packed weight survives a change of machine.
struct CodebookWeight {
  int64_t n, k;   // all >= 0, k < 2^24
  int64_t group;  // 32, 64, ..., 1024
  int64_t bits;   // 2 or 4

  int64_t panels() const { return (n + kCodebookPanel - 1) / kCodebookPanel; }
  int64_t groups() const { return (k + group - 1) / group; }
  int64_t group_bytes() const { return kCodebookPanel * (2 + group * bits / 8); }
  int64_t panel_bytes() const { return groups() * group_bytes() + kCodebookPanel * 4; }
  int64_t packed_bytes() const { return kCodebookHead + panels() * panel_bytes(); }
};

struct CodebookPackArgs {
  const uint8_t* b;     // [n, k] row-major, less than 2^bits: the weight of a linear layer, not its transpose
  const int8_t* table;  // [2^bits] in [kCodebookLeast, kCodebookMost]
  const float* scale;   // [n, groups] real value of one step of table; rounded to bfloat16
  uint8_t* packed;      // [shape.packed_bytes()], 64-byte aligned
  CodebookWeight shape;
};

struct CodebookGemmArgs {
  const float* a;                 // [m, k] row-major
  const uint8_t* packed;          // written by codebook_gemm_pack for the same shape
  const float* bias;              // [n], or nullptr for none
  Activation activation;          // applied last
  const float* activation_param;  // [activation_params], or nullptr where it takes none
  int64_t activation_params;      // 0, 1 or n
  float* out;                     // [m, n] row-major; every element is written; aliases no input
  int64_t m;                      // >= 0
  CodebookWeight shape;
};

namespace cpu {
// Both run on the intra-op threads with the widest instruction set of this CPU.
void codebook_gemm_pack(const CodebookPackArgs& args);
void codebook_gemm(const CodebookGemmArgs& args);
}  // namespace cpu

}  // namespace greenkernels
