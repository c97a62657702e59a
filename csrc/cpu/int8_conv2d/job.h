// One round of an int8 convolution: some images of the batch, quantized into padded maps on stage.
#pragma once

#include <algorithm>
#include <cstdint>

#include "api/int8_conv2d.h"
#include "cpu/int8_panel.h"
#include "cpu/int8_range.h"

namespace greenkernels::cpu {

// Bytes behind the stage that may be read, and behind a line that may be written: a copy moves whole chunks.
inline constexpr int64_t kInt8CopySlack = 64;

struct Int8ConvJob {
  const Int8Conv2dArgs& args;
  int64_t first_image, images;
  uint8_t* stage;       // [images][padded_h][padded_w][in_c] unsigned quantized values, zero points around
  const Quantizer* of;  // [images]; of an int8 input all values are 128 higher
  Int8Rows rows;        // [images * out_h * out_w]
  bool one_zero;        // all images have one zero point

  int64_t padded_h() const { return args.h + 2 * args.pad_h; }
  int64_t padded_w() const { return args.w + 2 * args.pad_w; }
  int64_t out_plane() const { return args.out_h * args.out_w; }
  int64_t pixels() const { return images * out_plane(); }
  // Values that lie side by side on stage and under the filter.
  int64_t run() const {
    const Int8Filter& f = args.filter;
    return args.dilation_w == 1 && f.groups == 1 ? f.kernel_w * f.group_in_c : f.group_in_c;
  }
  int64_t line_bytes() const { return (args.filter.depth() + 63) / 64 * 64 + kInt8CopySlack; }
  // Output maps are written from panels by way of a tile: [row of a run of blocks][kInt8Panel].
  bool tiled() const { return args.out_layout == MapLayout::kNchw; }
};

// How the outputs of a depthwise filter are computed: for kRun columns of one row, or of two, and a panel of
// channels, the rows of the stage under the filter are put side by side in quads, as the filter is packed.
struct Int8Depthwise {
  static constexpr int64_t kRun = 64;
  int64_t rows;     // of output from the same quads: 2 where one more row of the filter fits into them
  int64_t bands;    // of `rows` rows in an image
  int64_t columns;  // of the stage under a run
  int64_t quads;    // of the filter

  explicit Int8Depthwise(const Int8Conv2dArgs& args) {
    const Int8Filter& f = args.filter;
    rows = args.stride_h == 1 && args.dilation_h == 1 && f.kernel_h % 4 != 0 ? 2 : 1;
    bands = (args.out_h + rows - 1) / rows;
    columns = (std::min(kRun, args.out_w) - 1) * args.stride_w + (f.kernel_w - 1) * args.dilation_w + 1;
    quads = f.kernel_w * f.row_quads();
  }
  // Scratch, one after the other: the stage in quads, the filter for the second row, sums, and a tile.
  int64_t stage_bytes(const Int8Filter& f) const { return f.row_quads() * columns * kInt8Panel * 4; }
  int64_t filter_bytes() const { return quads * kInt8Panel * 4; }
  int64_t sums_bytes() const { return rows * kRun * kInt8Panel * 4; }
  int64_t scratch_bytes(const Int8Filter& f) const {
    return stage_bytes(f) + filter_bytes() + sums_bytes() + (kRun + 16) * kInt8Panel * 4;
  }
};

// The stages of one instruction set.
struct Int8ConvStages {
  int64_t max_rows, element_bytes;
  FloatRange (*range)(const float* x, int64_t count);
  // Rows [begin, end) of the padded maps of all images.
  void (*quantize)(const Int8ConvJob& job, int64_t begin, int64_t end);
  // v: what the filter sees of the input channels from `channel` on, for the pixels of the blocks
  // [begin, end); lines: scratch, [max_rows][line_bytes].
  void (*gather)(const Int8ConvJob& job, const Int8Product& product, int64_t channel, int64_t begin,
                 int64_t end, void* v, uint8_t* lines);
  // channel: the first output channel of the group; sums: scratch, twice sums_size() and 16 rows more.
  void (*panel)(const Int8ConvJob& job, const Int8Product& product, int64_t channel, int64_t panel,
                int64_t begin, int64_t end, const void* v, int32_t* sums);
  // Instead of gather and panel: units [begin, end), in the order [image][band of rows][panel].
  void (*depthwise)(const Int8ConvJob& job, const Int8Product& product, int64_t begin, int64_t end,
                    char* scratch);
};

}  // namespace greenkernels::cpu
