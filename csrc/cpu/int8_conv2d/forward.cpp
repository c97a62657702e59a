// int8_conv2d on the CPU: rounds of images are quantized onto a stage, then each group of channels is a
// product whose rows are gathered from there.
#include <algorithm>
#include <cstring>
#include <vector>

#include "api/int8_conv2d.h"
#include "cpu/half.h"
#include "cpu/int8_conv2d/job.h"
#include "cpu/int8_gemm/plan.h"
#include "cpu/int8_loops.h"
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

#define GK_KERNEL "cpu/int8_conv2d/stages.inl"
#include "cpu/foreach_isa.h"  // defines {scalar,avx2,avx512}::int8_conv_stages(has_vnni)

namespace greenkernels::cpu {

namespace {

constexpr int64_t kStageBytes = 8 << 20;    // of a round, unless one image takes more
constexpr int64_t kRangePart = 1 << 16;     // values that a thread looks through at a time: 256 KiB
constexpr int64_t kTaskElements = 1 << 15;  // quantized: about 6 us of one core
constexpr int64_t kTaskProducts = 1 << 19;  // of depthwise filters: about 6 us of one core

// The quantizer of each image [first, first + of.size()), for its unsigned values.
void find_quantizers(const Int8Conv2dArgs& args, const Int8ConvStages& stages, int64_t first,
                     std::vector<Quantizer>& of) {
  const int64_t size = args.in_c() * args.h * args.w, images = int64_t(of.size());
  if (args.input_type != Int8Input::kFloat || args.input_scales > 0) {
    const float offset = args.input_type == Int8Input::kInt8 ? 128 : 0;
    for (int64_t i = 0; i < images; ++i) {
      const float scale = args.input_scales ? args.input_scale[args.input_scales == 1 ? 0 : first + i] : 0;
      const int32_t zero = args.zero_points ? args.zero_point[args.zero_points == 1 ? 0 : first + i] : 0;
      of[i] = {scale, 1 / scale, float(zero) + offset};
    }
    return;
  }
  const int64_t parts = std::max<int64_t>(1, (size + kRangePart - 1) / kRangePart);
  std::vector<FloatRange> ranges(images * parts);
  const float* maps = static_cast<const float*>(args.input) + first * size;
  parallel_for(images * parts, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t from = i % parts * kRangePart;
      ranges[i] = stages.range(maps + i / parts * size + from, std::min(kRangePart, size - from));
    }
  });
  for (int64_t i = 0; i < images; ++i) {
    FloatRange range = ranges[i * parts];
    for (int64_t p = 1; p < parts; ++p) range = merge(range, ranges[i * parts + p]);
    of[i] = quantizer_of(range);
  }
}

// The product of a packed weight for the output channels from `channel` on, for the images of the round.
Int8Product product_of(const Int8ConvJob& job, const Int8Weight& shape, const int8_t* packed, int64_t channel,
                       const Int8Plan& plan) {
  const Int8Conv2dArgs& args = job.args;
  const int64_t out_c = args.filter.out_c;
  const int64_t at = job.first_image * job.out_plane() * out_c + channel;
  const auto from_channel = [&](const float* p) { return p ? p + channel : nullptr; };
  Int8Epilogue epilogue{};
  epilogue.col_scale = from_channel(args.weight_scale);
  epilogue.bias = from_channel(args.bias);
  if (!job.tiled()) {  // else applied on the way from the tile
    const bool one_each = args.activation_params > 1;
    epilogue.activation = args.activation;
    epilogue.activation_param = one_each ? from_channel(args.activation_param) : args.activation_param;
    epilogue.activation_params = args.activation_params;
    epilogue.skip = args.skip ? args.skip + at : nullptr;
    epilogue.skip_scale = args.skip_scale;
    epilogue.out_scale = args.out_scale;
    epilogue.out_zero_point = args.out_zero_point;
  }
  const int64_t element = args.output() == Int8Output::kUint8 ? 1 : 4;
  return {shape,       packed, epilogue,     args.output(), static_cast<char*>(args.out) + at * element,
          out_c,       0,      job.pixels(), plan.blocks,   plan.max_rows,
          job.one_zero};
}

void run_group(const Int8ConvJob& job, const Int8ConvStages& stages, const Int8Plan& plan, int64_t g) {
  const Int8Filter& filter = job.args.filter;
  const Int8Weight shape = filter.group_shape();
  const int8_t* packed = job.args.packed + g * shape.packed_bytes();
  const Int8Product product = product_of(job, shape, packed, g * shape.n, plan);
  const auto pack = [&](int64_t begin, int64_t end, void* v) {
    const ScratchLease lines(plan.max_rows * job.line_bytes());
    stages.gather(job, product, g * filter.group_in_c, begin, end, v, lines.as<uint8_t>());
  };
  const auto multiply = [&](int64_t panel, int64_t begin, int64_t end, const void* v, int32_t* sums) {
    stages.panel(job, product, g * product.shape.n, panel, begin, end, v, sums);
  };
  const int64_t block_bytes = product.block_stride() * stages.element_bytes;
  const int64_t sums_bytes = (2 * product.sums_size() + 16 * kInt8Panel) * 4;
  Int8Loops{plan, product.shape.panels(), block_bytes, sums_bytes, pack, multiply}.run();
}

void run_depthwise(const Int8ConvJob& job, const Int8ConvStages& stages) {
  const Int8Filter& filter = job.args.filter;
  const Int8Depthwise cut(job.args);
  const Int8Product product = product_of(job, filter.depthwise_shape(), job.args.packed, 0, {});
  const int64_t units = job.images * cut.bands * product.shape.panels();
  const int64_t products = cut.rows * job.args.out_w * cut.quads * kInt8Panel * 4;  // of a unit
  parallel_for(units, std::max<int64_t>(1, kTaskProducts / products), [&](int64_t begin, int64_t end) {
    const ScratchLease scratch(cut.scratch_bytes(filter));
    stages.depthwise(job, product, begin, end, scratch.as<char>());
  });
}

// Quantizes the images of the round, and multiplies.
void run_round(const Int8ConvJob& job, const Int8ConvStages& stages) {
  const Int8Conv2dArgs& args = job.args;
  const int64_t line = job.padded_w() * args.in_c();
  parallel_for(job.images * job.padded_h(), std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, line)),
               [&](int64_t begin, int64_t end) { stages.quantize(job, begin, end); });
  const int64_t plane = job.out_plane();
  for (int64_t i = 0; i < job.images; ++i) {
    std::fill_n(job.rows.scale + i * plane, plane, job.of[i].scale);
    std::fill_n(job.rows.zero + i * plane, plane, int32_t(job.of[i].zero));
  }
  if (args.filter.depthwise()) return run_depthwise(job, stages);
  const Int8Weight shape = args.filter.group_shape();
  const Int8Plan plan = int8_plan({job.pixels(), shape.n, shape.k, stages.element_bytes, stages.max_rows,
                                   num_threads(), cache_sizes().l2});
  for (int64_t g = 0; g < args.filter.groups; ++g) run_group(job, stages, plan, g);
}

// A depthwise filter, column by column, rows in quads.
void pack_depthwise(const Int8ConvPackArgs& args) {
  const Int8Filter& filter = args.filter;
  const Int8Weight shape = filter.depthwise_shape();
  std::vector<int8_t> columns(shape.n * shape.k, 0);
  for (int64_t c = 0; c < shape.n; ++c) {
    for (int64_t i = 0; i < filter.kernel_h; ++i) {
      for (int64_t j = 0; j < filter.kernel_w; ++j) {
        columns[c * shape.k + j * filter.row_quads() * 4 + i] =
            args.weight[(c * filter.kernel_h + i) * filter.kernel_w + j];
      }
    }
  }
  int8_gemm_pack({columns.data(), args.packed, shape});
}

}  // namespace

void int8_conv2d_pack(const Int8ConvPackArgs& args) {
  if (args.filter.depthwise()) return pack_depthwise(args);
  const Int8Weight shape = args.filter.group_shape();
  for (int64_t g = 0; g < args.filter.groups; ++g) {
    int8_gemm_pack({args.weight + g * shape.n * shape.k, args.packed + g * shape.packed_bytes(), shape});
  }
}

void int8_conv2d(const Int8Conv2dArgs& args) {
  const int64_t plane = args.out_h * args.out_w;
  if (args.batch == 0 || args.filter.out_c == 0 || plane == 0) return;
  const Int8ConvStages stages = GK_SELECT_ISA(int8_conv_stages)(vnni());
  const int64_t image_bytes = (args.h + 2 * args.pad_h) * (args.w + 2 * args.pad_w) * args.in_c();
  const int64_t fit = std::max<int64_t>(1, kStageBytes / std::max<int64_t>(1, image_bytes));
  const int64_t images = std::min(args.batch, fit);
  const ScratchLease stage(images * image_bytes + kInt8CopySlack), rows(images * plane * 8);
  // Read with the last line; meets weights of 0 alone.
  std::fill_n(stage.as<char>() + images * image_bytes, kInt8CopySlack, char{0});
  const bool found = args.input_type == Int8Input::kFloat && args.input_scales == 0;
  for (int64_t first = 0; first < args.batch; first += images) {
    const int64_t count = std::min(images, args.batch - first);
    std::vector<Quantizer> of(count);
    find_quantizers(args, stages, first, of);
    const Int8Rows known{rows.as<float>(), rows.as<int32_t>() + images * plane};
    const bool one_zero = count == 1 || (args.zero_points <= 1 && !found);
    run_round({args, first, count, stage.as<uint8_t>(), of.data(), known, one_zero}, stages);
  }
}

}  // namespace greenkernels::cpu
