// int8 GEMM: integer products of a quantized a with a quantized weight b. The contract every backend obeys:
//
//   sums[i, j] = sum over d of (qa[i, d] - zero_point[i]) * b[j, d]                         exact, integer
//   out[i, j] = act(row_scale[i] * col_scale[j] * sums[i, j] + bias[j] + skip_scale * skip[i, j])  float32
//   or, where out_scale is set, clamp(round(out[i, j] * (1 / out_scale)) + out_zero_point, 0, 255)
//
// qa is a itself where a holds 8-bit integers. A float a is quantized while it is packed, with `inverse` the
// float32 value of 1 / row_scale[i], and round() half to even:
//
//   qa[i, d] = clamp(round(a[i, d] * inverse) + zero_point[i], 0, 255)
//
// Where no row_scale is given for a float a, every row gets its own, with `high` and `low` the largest and
// the smallest element of the row and 0:
//
//   row_scale[i] = max(high / 255 - low / 255, 2^-126), zero_point[i] = -round(low * inverse)
//
// A row that holds a NaN or an infinity then comes out as NaN. With a given row_scale a NaN counts as the
// lowest value. Sums are exact for every k: int32 for slices of kInt8Slice products, int64 beyond; rounded to
// float32 once. Denormal numbers count as 0.
//
// Sources: Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022
// (one scale per row of a and of b, without its outlier split); Jacob et al., "Quantization and Training of
// Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018 (zero points, requantization).
#pragma once

#include <cstdint>

#include "api/activation.h"

namespace greenkernels {

// |qa * b| <= 255 * 128, so that many products fit in int32.
inline constexpr int64_t kInt8Slice = int64_t{1} << 16;
static_assert(kInt8Slice * 255 * 128 <= INT32_MAX);

// Sums of a row of b fit in int32 up to here.
inline constexpr int64_t kInt8MaxDepth = (int64_t{1} << 24) - 1;

// The packed weight: panels of kInt8Panel rows of b, each
//   [k / 4, rounded up][kInt8Panel][4] int8, 0 past the ends of b
// and behind it int32 [kInt8Panel], the sum of each row. One layout for all instruction sets, so that a
// packed weight survives a change of machine.
inline constexpr int64_t kInt8Panel = 32;

struct Int8Weight {
  int64_t n, k;  // all >= 0, k <= kInt8MaxDepth

  int64_t panels() const { return (n + kInt8Panel - 1) / kInt8Panel; }
  int64_t quads() const { return (k + 3) / 4; }
  int64_t panel_bytes() const { return (quads() + 1) * kInt8Panel * 4; }
  int64_t packed_bytes() const { return panels() * panel_bytes(); }
};

struct Int8PackArgs {
  const int8_t* b;  // [n, k] row-major: the weight of a linear layer, not its transpose
  int8_t* packed;   // [shape.packed_bytes()], 64-byte aligned
  Int8Weight shape;
};

enum class Int8Input { kUint8, kInt8, kFloat };
enum class Int8Output { kSums, kFloat, kUint8 };

// The float side of the result, for kFloat and kUint8.
struct Int8Epilogue {
  const float* col_scale;         // [n] real value of one step of b
  const float* bias;              // [n], or nullptr for none
  Activation activation;          // applied to the float32 value
  const float* activation_param;  // [activation_params], or nullptr where it takes none
  int64_t activation_params;      // 0, 1 or n
  float out_scale;                // kUint8: real value of one step of out
  int32_t out_zero_point;         // kUint8: in [0, 255]
  const float* skip;              // added before the activation, in the order of out; or nullptr
  float skip_scale;               // factor of skip
};

struct Int8GemmArgs {
  const void* a;              // [m, k] row-major, of the type that input says
  const int8_t* packed;       // written by int8_gemm_pack for the same shape
  const float* row_scale;     // [row_scales] real value of one step of a; nullptr: kSums, or found from a
  int64_t row_scales;         // 0, 1 or m
  const int32_t* zero_point;  // [zero_points] what stands for the real 0, in the range of the type of qa
  int64_t zero_points;        // 0 (all 0), 1 or m
  Int8Epilogue epilogue;
  void* out;  // [m, n] row-major, int32, float or uint8; every element is written; aliases no input
  Int8Input input;
  Int8Output output;
  int64_t m;  // >= 0
  Int8Weight shape;
};

namespace cpu {
// Both run on the intra-op threads with the widest instruction set of this CPU.
void int8_gemm_pack(const Int8PackArgs& args);
void int8_gemm(const Int8GemmArgs& args);
}  // namespace cpu

// What the CUDA kernels take. The product: integers that are quantized already, and the weight as it is, not
// packed.
struct Int8CudaGemmArgs {
  const void* a;              // [m, k] row-major: int8, or uint8 with kUint8
  const int8_t* b;            // [n, k] row-major
  const int32_t* b_sums;      // [n] sum of each row of b; nullptr where zero_points is 0
  const float* row_scale;     // [row_scales]; nullptr with kSums
  int64_t row_scales;         // 0, 1 or m
  const int32_t* zero_point;  // [zero_points]
  int64_t zero_points;        // 0 (all 0), 1 or m
  Int8Epilogue epilogue;      // of kFloat; without skip
  void* out;                  // [m, n] row-major, int32 or float; aliases no input
  Int8Input input;            // kUint8 or kInt8
  Int8Output output;          // kSums or kFloat
  int64_t m, n, k;            // all >= 0, k <= kInt8Slice: sums in int32
};

// qa of a float a, as above.
struct Int8QuantizeArgs {
  const float* a;             // [m, k] row-major
  uint8_t* qa;                // [m, k]
  const float* row_scale;     // [row_scales]; nullptr: every row gets its own
  int64_t row_scales;         // 0, 1 or m
  const int32_t* zero_point;  // [zero_points], of a given row_scale
  int64_t zero_points;        // 0 (all 0), 1 or m
  float* found_scale;         // [m], written without row_scale
  int32_t* found_zero_point;  // [m], likewise
  int64_t m, k;               // all >= 0
};

// out[i] = clamp(round(values[i] * inverse) + zero_point, 0, 255)
struct Int8RequantizeArgs {
  const float* values;  // [size]
  uint8_t* out;         // [size]
  int64_t size;
  float inverse;       // 1 / out_scale
  int32_t zero_point;  // in [0, 255]
};

struct Int8RowSumsArgs {
  const int8_t* b;  // [n, k] row-major
  int32_t* sums;    // [n]
  int64_t n, k;     // all >= 0, k <= kInt8MaxDepth
};

namespace cuda {
// Each puts its kernel into `stream`, a cudaStream_t, and returns at once: a cudaError_t, 0 for success,
// cudaErrorInvalidValue for what its arguments leave out. Every pointer is memory of that stream's device.
// Where there are too few tiles of out for the current device, the depth of the product is cut into parts
// that are added up through scratch memory of int8_gemm_scratch elements, 16-byte aligned; with nullptr, or 0
// of them, it is not.
int64_t int8_gemm_scratch(const Int8CudaGemmArgs& args);
int int8_gemm(const Int8CudaGemmArgs& args, int32_t* scratch, void* stream);
int int8_quantize(const Int8QuantizeArgs& args, void* stream);
int int8_requantize(const Int8RequantizeArgs& args, void* stream);
int int8_row_sums(const Int8RowSumsArgs& args, void* stream);
}  // namespace cuda

}  // namespace greenkernels
