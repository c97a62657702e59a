// int4_gemm on the CPU: rows are quantized, then threads share out the panels of the weight, which each reads
// once.
#include <algorithm>

#include "api/int4_gemm.h"
#include "cpu/int4_gemm/job.h"
#include "cpu/int8_range.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

#define GK_KERNEL "cpu/int4_gemm/stages.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::int4_stages(has_vnni)

namespace greenkernels::cpu {

namespace {

constexpr int64_t kTaskOps = 1 << 22;       // about 6 us of one core: less is not worth waking a thread
constexpr int64_t kTaskElements = 1 << 15;  // of a row, quantized, or of the weight, packed: the same

int64_t grain(int64_t least, int64_t each) {
  return std::max<int64_t>(1, least / std::max<int64_t>(1, each));
}

Int4Stages select_stages() { return GK_SELECT_ISA(int4_stages)(vnni()); }

}  // namespace

void int4_gemm_pack(const Int4PackArgs& args) {
  const auto pack = select_stages().pack_panels;
  parallel_for(args.shape.panels(), grain(kTaskElements, kInt4Panel * args.shape.k),
               [&](int64_t begin, int64_t end) { pack(args, begin, end); });
}

void int4_gemm(const Int4GemmArgs& args) {
  const Int4Weight& shape = args.shape;
  if (args.m == 0 || shape.n == 0) return;
  const Int4Stages stages = select_stages();
  const int64_t depth = shape.groups() * shape.group;
  const ScratchLease values(args.m * depth), starts(args.m * shape.groups() * 4), known(args.m * 8);
  const Int4Rows rows{values.as<int8_t>(), starts.as<int32_t>(), known.as<float>(),
                      known.as<float>() + args.m};
  parallel_for(args.m, grain(kTaskElements, depth),
               [&](int64_t begin, int64_t end) { stages.pack_rows(args, begin, end, rows); });
  parallel_for(shape.panels(), grain(kTaskOps, 2 * args.m * depth * kInt4Panel),
               [&](int64_t begin, int64_t end) { stages.panels(args, begin, end, rows); });
}

}  // namespace greenkernels::cpu
