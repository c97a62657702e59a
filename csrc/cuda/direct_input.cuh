// How the tiles of direct_conv2d bring slices of the gathered input into shared memory: for each output pixel
// of a block some depths, where a depth is an input channel under one tap of the filter. All is copied
// without a detour through registers, zeros where there is no input.
#pragma once

#include "api/direct_conv2d.h"
#include "cuda/device.cuh"

namespace greenkernels::cuda {

inline constexpr int kDirectSlice = 8;             // depths of a slice
inline constexpr int kDirectTable = 1024;          // depths that a table in shared memory has room for
inline constexpr int kDirectNowhere = -(1 << 28);  // a row that no filter reaches

// Where output pixel `index` has the first tap of its filter in the input.
struct DirectStart {
  int offset;  // of that element, in channel 0 of the group
  int y, x;

  __device__ static DirectStart of(const DirectConv2dArgs<float>& args, unsigned index, int group) {
    const unsigned w = unsigned(args.out_w()), h = unsigned(args.out_h());
    const unsigned line = index / w, image = line / h;
    if (image >= unsigned(args.batch)) return {0, kDirectNowhere, kDirectNowhere};
    const int y = int(line % h) * int(args.stride_h) - int(args.pad_h);
    const int x = int(index % w) * int(args.stride_w) - int(args.pad_w);
    const int in_h = int(args.h), in_w = int(args.w), in_c = int(args.in_c());
    const int channel = group * int(args.filter.group_in_c);
    const bool last = args.input_layout == MapLayout::kNhwc;
    const int pixel = y * in_w + x;
    return {last ? (int(image) * in_h * in_w + pixel) * in_c + channel
                 : (int(image) * in_c + channel) * in_h * in_w + pixel,
            y, x};
  }

  __device__ bool reaches(const DirectConv2dArgs<float>& args, int down, int across) const {
    return unsigned(y + down) < unsigned(args.h) && unsigned(x + across) < unsigned(args.w);
  }
};

// The tap and the channel that the depths of a slice begin at. Slices end with their tap.
struct DirectWalk {
  int channel, tap_y, tap_x;

  __device__ static DirectWalk at(const DirectConv2dArgs<float>& args, int slice) {
    const int of_tap = (int(args.filter.group_in_c) + kDirectSlice - 1) / kDirectSlice, tap = slice / of_tap;
    const int kernel_w = int(args.filter.kernel_w);
    return {slice % of_tap * kDirectSlice, tap / kernel_w, tap % kernel_w};
  }

  // To the next slice. Returns whether it is under another tap.
  __device__ bool advance(const DirectConv2dArgs<float>& args) {
    channel += kDirectSlice;
    if (channel < int(args.filter.group_in_c)) return false;
    channel = 0;
    if (++tap_x == int(args.filter.kernel_w)) tap_x = 0, ++tap_y;
    return true;
  }

  __device__ int down(const DirectConv2dArgs<float>& args) const { return tap_y * int(args.dilation_h); }
  __device__ int across(const DirectConv2dArgs<float>& args) const { return tap_x * int(args.dilation_w); }
};

// channels_last maps whose channels allow 16-byte copies: slices are [pixel][depth].
template <int kPixels, int kThreads>
class DirectPixelInput {
 public:
  static constexpr bool kDepthInside = true;
  static constexpr bool kBySlicesOfTaps = true;
  struct Table {};

  __device__ DirectPixelInput(const DirectConv2dArgs<float>& args, Table&, unsigned pixel0, int group,
                              int slice)
      : walk_(DirectWalk::at(args, slice)) {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) starts_[i] = DirectStart::of(args, pixel0 + pixel(i), group);
    enter_tap(args);
  }

  __device__ void begin(const DirectConv2dArgs<float>& args, float* slice) const {
    const bool exists = walk_.channel + depth() < int(args.filter.group_in_c);
#pragma unroll
    for (int i = 0; i < kPieces; ++i)
      copy_async<16>(&slice[pixel(i) * kDirectSlice + depth()],
                     args.input + (starts_[i].offset + tap_offset_ + walk_.channel + depth()),
                     exists && (inside_ >> i & 1));
  }

  __device__ void advance(const DirectConv2dArgs<float>& args) {
    if (walk_.advance(args)) enter_tap(args);
  }

 private:
  static constexpr int kPieces = kPixels * kDirectSlice / 4 / kThreads;
  static_assert(kPieces >= 1);

  __device__ static int pixel(int i) {
    return int(threadIdx.x) / (kDirectSlice / 4) + i * (kThreads / (kDirectSlice / 4));
  }
  __device__ static int depth() { return int(threadIdx.x) % (kDirectSlice / 4) * 4; }

  __device__ void enter_tap(const DirectConv2dArgs<float>& args) {
    const int down = walk_.down(args), across = walk_.across(args);
    tap_offset_ = (down * int(args.w) + across) * int(args.in_c());
    inside_ = 0;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) inside_ |= unsigned(starts_[i].reaches(args, down, across)) << i;
  }

  DirectWalk walk_;
  DirectStart starts_[kPieces];
  int tap_offset_;
  unsigned inside_;
};

// NCHW maps of several channels: slices are [depth][pixel]; a thread has some depths of one pixel.
template <int kPixels, int kThreads>
class DirectPlaneInput {
 public:
  static constexpr bool kDepthInside = false;
  static constexpr bool kBySlicesOfTaps = true;
  struct Table {};

  __device__ DirectPlaneInput(const DirectConv2dArgs<float>& args, Table&, unsigned pixel0, int group,
                              int slice)
      : walk_(DirectWalk::at(args, slice)), start_(DirectStart::of(args, pixel0 + pixel(), group)) {
    enter_tap(args);
  }

  __device__ void begin(const DirectConv2dArgs<float>& args, float* slice) const {
    const int plane = int(args.h) * int(args.w),
              left = inside_ ? int(args.filter.group_in_c) - walk_.channel : 0;
    const float* from = source_ + depth(0) * plane;
#pragma unroll
    for (int i = 0; i < kElements; ++i, from += kDepths * plane)
      copy_async<4>(&slice[depth(i) * kPixels + pixel()], from, depth(i) < left);
  }

  __device__ void advance(const DirectConv2dArgs<float>& args) {
    if (walk_.advance(args)) {
      enter_tap(args);
    } else {
      source_ += kDirectSlice * int(args.h) * int(args.w);
    }
  }

 private:
  static constexpr int kDepths = kThreads / kPixels;  // that the block copies at once
  static constexpr int kElements = kDirectSlice / kDepths;
  static_assert(kThreads % kPixels == 0 && kDepths <= kDirectSlice);

  __device__ static int pixel() { return int(threadIdx.x) % kPixels; }
  __device__ static int depth(int i) { return int(threadIdx.x) / kPixels + i * kDepths; }

  __device__ void enter_tap(const DirectConv2dArgs<float>& args) {
    const int down = walk_.down(args), across = walk_.across(args), w = int(args.w), h = int(args.h);
    inside_ = start_.reaches(args, down, across);
    source_ = args.input + (start_.offset + down * w + across + walk_.channel * h * w);
  }

  DirectWalk walk_;
  DirectStart start_;
  const float* source_;
  bool inside_;
};

// Few channels, or such that allow no 16-byte copies: depths are looked up in a table, so that slices need
// not end with their tap. [pixel][depth] in channels_last, [depth][pixel] in NCHW.
template <int kPixels, int kThreads, bool kLast>
class DirectTableInput {
 public:
  static constexpr bool kDepthInside = kLast;
  static constexpr bool kBySlicesOfTaps = false;
  struct Table {
    int offsets[kDirectTable];
    short2 places[kDirectTable];  // x across, y down
    DirectStart starts[kPixels];
  };

  __device__ DirectTableInput(const DirectConv2dArgs<float>& args, Table& table, unsigned pixel0, int group,
                              int slice)
      : table_(table), depth0_(slice * kDirectSlice) {
    const int in_c = int(args.filter.group_in_c), kernel_w = int(args.filter.kernel_w);
    for (int d = threadIdx.x; d < int(args.filter.depth()); d += kThreads) {
      const int tap = d / in_c, c = d % in_c;
      const int down = tap / kernel_w * int(args.dilation_h), across = tap % kernel_w * int(args.dilation_w);
      const int pixel = down * int(args.w) + across;
      table.offsets[d] = kLast ? pixel * int(args.in_c()) + c : c * int(args.h) * int(args.w) + pixel;
      table.places[d] = make_short2(short(across), short(down));
    }
    for (int p = threadIdx.x; p < kPixels; p += kThreads)
      table.starts[p] = DirectStart::of(args, pixel0 + p, group);
    __syncthreads();
  }

  __device__ void begin(const DirectConv2dArgs<float>& args, float* slice) const {
    constexpr int kElements = kPixels * kDirectSlice / kThreads;
    const int depth = int(args.filter.depth());
#pragma unroll
    for (int i = 0; i < kElements; ++i) {
      const int at = int(threadIdx.x) + i * kThreads;  // within the slice
      const int pixel = kLast ? at / kDirectSlice : at % kPixels;
      const int d = depth0_ + (kLast ? at % kDirectSlice : at / kPixels), entry = min(d, depth - 1);
      const short2 place = table_.places[entry];
      const DirectStart start = table_.starts[pixel];
      copy_async<4>(&slice[at], args.input + (start.offset + table_.offsets[entry]),
                    d < depth && start.reaches(args, place.y, place.x));
    }
  }

  __device__ void advance(const DirectConv2dArgs<float>&) { depth0_ += kDirectSlice; }

 private:
  const Table& table_;
  int depth0_;
};

// Slices of a call: the same number for whoever walks them.
inline int64_t direct_slices(const DirectFilter& filter, bool by_slices_of_taps) {
  return by_slices_of_taps ? filter.taps() * blocks_for(filter.group_in_c, kDirectSlice)
                           : blocks_for(filter.depth(), kDirectSlice);
}

}  // namespace greenkernels::cuda
