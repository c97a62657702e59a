// One round of an int8 convolution: some images of the batch, quantized into padded maps on stage.
#pragma once

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
};

}  // namespace greenkernels::cpu
