// The choices of plan.h, and of the layout of a packed weight.
#include "cpu/csr_matmul/plan.h"

#include <algorithm>

#include "cpu/csr_matmul/formats/panels.h"
#include "cpu/csr_matmul/formats/rows.h"

namespace greenkernels {

namespace {

// Rows of x up to which gathering them beats multiplying strips, of which all but these lanes would be waste.
constexpr int64_t kMaxGatheredRows = 2;

// A block of x is this many lines: 32 KiB of the L1 cache. Where a row of the weight would have few nonzeros
// in it, it is two or four times as many, from L2: the sums of a row, which lie in L2 and are read and
// written in every block, cost more than x then.
constexpr int64_t kBlockLines = 512, kMostBlockLines = 4 * kBlockLines;
constexpr int64_t kFewInBlock = 10;

// Tiles of at least 64 and at most 1024 rows: of 8 or more each thread finds its share, and the fewer there
// are, the more nonzeros meet a block of x while it is in L1.
constexpr int64_t kMinTile = 64, kMaxTile = 1024, kTiles = 8;

}  // namespace

CsrLayout csr_layout(const CsrShape& shape, int64_t batch) {
  if (batch <= kMaxGatheredRows && shape.k <= cpu::kCsrRowsMaxColumns) return {CsrFormat::kRows, 0, 0};
  const int64_t lines = batch <= cpu::kCsrLanes       ? 1
                        : batch <= 2 * cpu::kCsrLanes ? 2
                                                      : cpu::kCsrMaxLines;  // of a strip
  const int64_t tile = std::clamp((shape.n + kTiles - 1) / kTiles, kMinTile, kMaxTile);
  int64_t k_block = kBlockLines / lines;
  const int64_t most = std::min(kMostBlockLines / lines, cpu::kCsrMaxBlock);
  const double few = kFewInBlock * double(shape.n) * double(shape.k);  // beyond what int64_t holds
  while (double(k_block) * double(shape.nnz) < few && 2 * k_block <= most) k_block *= 2;
  return {CsrFormat::kPanels, k_block, tile};
}

int64_t csr_packed_bytes(const CsrShape& shape, const CsrLayout& layout, int64_t element_bytes) {
  if (layout.format == CsrFormat::kRows) return cpu::CsrRows<char>(shape, nullptr, element_bytes).bytes;
  return cpu::CsrPanels<char>(shape, layout, nullptr, element_bytes).bytes;
}

namespace cpu {

CsrPlan csr_plan(int64_t m, int threads) {
  const int64_t lines = (m + kCsrLanes - 1) / kCsrLanes;
  const int64_t strips = (lines + kCsrMaxLines - 1) / kCsrMaxLines;
  // A thread that transposes its own strip finds it in its L2 cache. With few strips threads would wait for
  // the one that has a strip more.
  return {lines, strips, strips % threads == 0 || strips >= 8 * threads};
}

int64_t csr_first_row(const int64_t* crow_indices, int64_t n, int64_t i, int64_t shares) {
  if (i >= shares) return n;
  return std::lower_bound(crow_indices, crow_indices + n, crow_indices[n] * i / shares) - crow_indices;
}

}  // namespace cpu

}  // namespace greenkernels
