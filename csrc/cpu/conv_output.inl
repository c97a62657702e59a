// The last step of every convolution kernel: bias, skip and activation, on the way from a panel of sums,
// pixel by pixel with 16 or 32 channels adjacent, to the output map. Args is the argument struct of the
// kernel.
#include "cpu/map_elements.inl"

// What a half panel needs to know: 16 output channels from `channel`, of which `channels` exist.
template <typename T>
struct HalfPanel {
  int64_t channel, channels;
  T bias[16], slope[16];

  // The channels [first, first + 16), but none from `end` on.
  template <typename Args>
  HalfPanel(const Args& args, int64_t first, int64_t end) : channel(first) {
    channels = end - first < 16 ? end - first : 16;
    for (int c = 0; c < 16; ++c) {
      const bool exists = c < channels;
      bias[c] = exists && args.bias ? args.bias[first + c] : 0;
      slope[c] = !exists || args.activation_params == 0
                     ? 0
                     : args.activation_param[args.activation_params == 1 ? 0 : first + c];
    }
  }
};

// activation(value + skip_scale * skip); skip: `lanes` values that go with those of the vector, or nullptr.
template <typename T, typename S, typename Args>
GK_INLINE Vec<T> finish(const Args& args, Vec<T> value, const S* skip, int64_t lanes, Vec<T> slope) {
  if (skip) value = fma(Vec<T>::broadcast(T(args.skip_scale)), load_elements_n(skip, lanes), value);
  if (args.activation == Activation::kNone) return value;
  if (args.activation == Activation::kRelu) return relu(value);
  return activate(args.activation, value, slope);
}

// `count` pixels, adjacent in the planes of out, go from stage (pixel_stride apart, bias added) to these
// planes. offset: of the first pixel in the first plane; plane: elements of one. Reads stage up to the next
// multiple of the vector width.
template <typename T, typename Args>
void finish_pixels_nchw(const Args& args, const HalfPanel<T>& half, int64_t offset, int64_t plane,
                        int64_t count, const T* stage, int64_t pixel_stride) {
  constexpr int kWidth = Vec<T>::kWidth;
  for (int64_t x = 0; x < count; x += kWidth, stage += pixel_stride * kWidth) {
    for (int64_t c = 0; c < half.channels; c += kWidth) {
      Vec<T> block[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) block[i] = Vec<T>::load(stage + i * pixel_stride + c);
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        if (c + i >= half.channels) continue;
        const int64_t position = offset + (c + i) * plane + x;
        const Vec<T> value = finish(args, block[i], args.skip ? args.skip + position : nullptr, count - x,
                                    Vec<T>::broadcast(half.slope[c + i]));
        if (count - x >= kWidth) {
          store_elements(value, args.out + position);
        } else {
          store_elements_n(value, args.out + position, count - x);
        }
      }
    }
  }
}
