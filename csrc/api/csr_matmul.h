// Product of dense activations and an unstructured sparse weight. The contract every backend obeys:
//
//   out[i, j] = bias[j] + sum over the nonzeros p of row j of values[p] * x[i, col_indices[p]]
//
// with the nonzeros of row j at crow_indices[j] <= p < crow_indices[j + 1], as torch's CSR has them.
// Exactness: the rounding of one sum over the nonzeros of a row, in an order that the packed format fixes and
// the number of threads does not change; denormal numbers count as 0; a weight that is not stored skips NaN *
// 0. Sources: Gale, Zaharia, Young and Elsen, "Sparse GPU Kernels for Deep Learning", SC 2020 (row order by
// length, the gradient of the values at the nonzeros); Elsen, Dukhan, Gale and Simonyan, "Fast Sparse
// ConvNets", CVPR 2020 (a broadcast nonzero times a strip of activations).
#pragma once

#include <cstdint>

namespace greenkernels {

// Of the weight, as nn.Linear has it: n outputs, k inputs.
struct CsrShape {
  int64_t n, k, nnz;  // n, k in [0, 2^31), nnz <= n * k
};

// The weight as torch.sparse_csr has it.
template <typename T>
struct CsrWeight {
  const int64_t* crow_indices;  // [n + 1] ascending from 0 to nnz
  const int64_t* col_indices;   // [nnz] in [0, k), strictly ascending within a row
  const T* values;              // [nnz]
  CsrShape shape;
};

// How a packed weight is laid out; csr_layout chooses. One layout for all instruction sets.
enum class CsrFormat : int64_t { kRows, kPanels };  // csrc/cpu/csr_matmul/formats, one header each

struct CsrLayout {
  CsrFormat format;
  int64_t k_block;   // columns of a block: kPanels
  int64_t row_tile;  // rows of a tile: kPanels
};

// The layout that is fastest for products with `batch` rows of x; right for any other number of rows too.
CsrLayout csr_layout(const CsrShape& shape, int64_t batch);

// Bytes of the packed weight, a function of sizes alone.
int64_t csr_packed_bytes(const CsrShape& shape, const CsrLayout& layout, int64_t element_bytes);

template <typename T>
struct CsrPackArgs {
  CsrWeight<T> weight;
  CsrLayout layout;
  void* packed;  // [csr_packed_bytes] bytes, 64-byte aligned
};

template <typename T>
struct CsrMatmulArgs {
  const T* x;          // [m, k] row-major
  const void* packed;  // written by csr_matmul_pack for the same shape and layout
  const T* bias;       // [n], or nullptr for none
  T* out;              // [m, n] row-major; every element is written; aliases no input
  CsrShape shape;
  CsrLayout layout;
  int64_t m;  // >= 0
};

// Gradient of the values, at the nonzeros alone:
//   grad_values[p] = sum over i of grad[i, row of p] * x[i, col_indices[p]]
template <typename T>
struct CsrValuesGradArgs {
  const int64_t* crow_indices;
  const int64_t* col_indices;
  const T* grad;   // [m, n] row-major
  const T* x;      // [m, k] row-major
  T* grad_values;  // [nnz]
  CsrShape shape;
  int64_t m;
};

// The weight's transpose [k, n] in CSR form; its value p is values[order[p]].
struct CsrTransposeArgs {
  const int64_t* crow_indices;
  const int64_t* col_indices;
  CsrShape shape;
  int64_t* out_crow_indices;  // [k + 1]
  int64_t* out_col_indices;   // [nnz]
  int64_t* order;             // [nnz]
};

namespace cpu {
// All but csr_transpose run on the intra-op threads with the widest instruction set of this CPU; double runs
// on the scalar level.
void csr_matmul_pack(const CsrPackArgs<float>& args);
void csr_matmul_pack(const CsrPackArgs<double>& args);
void csr_matmul(const CsrMatmulArgs<float>& args);
void csr_matmul(const CsrMatmulArgs<double>& args);
void csr_matmul_values_grad(const CsrValuesGradArgs<float>& args);
void csr_matmul_values_grad(const CsrValuesGradArgs<double>& args);
void csr_transpose(const CsrTransposeArgs& args);
}  // namespace cpu

// On CUDA the weight stays as torch has it: I is int32_t or int64_t.
template <typename T, typename I>
struct CsrCudaArgs {
  const I* crow_indices;  // [n + 1]
  const I* col_indices;   // [nnz], each in [0, k)
  const T* values;        // [nnz]
  const T* x;             // [m, k] row-major
  const T* bias;          // [n], or nullptr for none
  T* out;                 // [m, n] row-major; every element is written; aliases no input
  CsrShape shape;
  int64_t m;  // >= 0
};

template <typename T, typename I>
struct CsrCudaValuesGradArgs {
  const I* crow_indices;
  const I* col_indices;
  const T* grad;   // [m, n] row-major
  const T* x;      // [m, k] row-major
  T* grad_values;  // [nnz]
  CsrShape shape;
  int64_t m;
};

namespace cuda {
// Both put their work into `stream`, a cudaStream_t, and return at once: a cudaError_t, 0 for success. Every
// pointer is memory of that stream's device, scratch has csr_matmul_scratch bytes, 16-byte aligned. To look
// at the indices would wait for the device. So wrong ones raise nothing, but read and write nothing beyond
// the arrays either: crow_indices count as held to [0, nnz], and what a column outside of [0, k) takes part
// in is NaN. T is float or double; denormal numbers count.
int64_t csr_matmul_scratch(const CsrShape& shape, int64_t m, int64_t element_bytes);
template <typename T, typename I>
int csr_matmul(const CsrCudaArgs<T, I>& args, void* scratch, void* stream);
template <typename T, typename I>
int csr_matmul_values_grad(const CsrCudaValuesGradArgs<T, I>& args, void* scratch, void* stream);
}  // namespace cuda

}  // namespace greenkernels
