// NCHW maps: a band of one plane is staged as DepthwisePlane says, and the outputs of all its rows are
// computed as one run of values, those between rows too, so that narrow maps fill vectors.

inline constexpr int kRunVectors = 4;  // sums in registers, so that a tap is broadcast once for all of them

// staged[q] = row[in_x + q * stride], 0 outside of [0, w) and where there is no row.
template <typename T, typename S>
void stage_row(const S* row, int64_t in_x, int64_t stride, int64_t w, int64_t count, T* staged) {
  const int64_t first = in_x < 0 ? std::min(count, (-in_x + stride - 1) / stride) : 0;
  const int64_t room = w - in_x;  // columns from in_x to the end of the map
  const int64_t last =
      row && room > 0 ? std::max(first, std::min(count, (room + stride - 1) / stride)) : first;
  std::fill(staged, staged + first, T(0));
  int64_t q = first;
  if (stride == 1) {
    for (; q < last; q += Vec<T>::kWidth) {
      load_elements_n(row + in_x + q, last - q).store_n(staged + q, last - q);
    }
  } else if (stride == 2) {
    for (; q < last; q += Vec<T>::kWidth) {
      const S* p = row + in_x + 2 * q;
      const int64_t left = room - 2 * q;
      const Vec<T> a = load_elements_n(p, left);
      const Vec<T> b = load_elements_n(p + Vec<T>::kWidth, left - Vec<T>::kWidth);
      even_lanes(a, b).store_n(staged + q, last - q);
    }
  } else {
    for (; q < last; ++q) load_elements_n(row + in_x + q * stride, 1).store_n(staged + q, 1);
  }
  std::fill(staged + last, staged + count, T(0));
}

template <typename T, typename S>
void stage_plane(const DepthwiseJob<T, S>& job, const DepthwisePlane& plane, const S* map, int64_t y,
                 T* staged) {
  const auto& args = job.args;
  for (int64_t phase = 0; phase < args.stride_h * args.stride_w; ++phase) {
    for (int64_t r = 0; r < plane.rows; ++r, staged += plane.pitch) {
      const int64_t in_y = (y + r) * args.stride_h + phase / args.stride_w - args.pad_h;
      const int64_t in_x = phase % args.stride_w - args.pad_w;
      const S* row = in_y >= 0 && in_y < args.h ? map + in_y * args.w : nullptr;
      stage_row(row, in_x, args.stride_w, args.w, plane.pitch, staged);
    }
  }
}

// The sums of `count` adjacent outputs, rounded up to whole runs.
template <typename T>
void sum_plane(const T* staged, const T* taps, int64_t tap_step, const int64_t* offsets, int64_t tap_count,
               T bias, int64_t count, T* sums) {
  constexpr int64_t kRun = kRunVectors * Vec<T>::kWidth;
  for (int64_t q = 0; q < count; q += kRun) {
    Vec<T> sum[kRunVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kRunVectors; ++k) sum[k] = Vec<T>::broadcast(bias);
    for (int64_t tap = 0; tap < tap_count; ++tap) {
      const Vec<T> w = Vec<T>::broadcast(taps[tap * tap_step]);
      const T* p = staged + offsets[tap] + q;
#pragma GCC unroll 4
      for (int k = 0; k < kRunVectors; ++k) sum[k] = fma(Vec<T>::load(p + k * Vec<T>::kWidth), w, sum[k]);
    }
#pragma GCC unroll 4
    for (int k = 0; k < kRunVectors; ++k) sum[k].store(sums + q + k * Vec<T>::kWidth);
  }
}

template <typename T, typename S>
void finish_plane_row(const DepthwiseJob<T, S>& job, const T* sums, int64_t at, Vec<T> slope) {
  const auto& args = job.args;
  const Vec<T> low = Vec<T>::broadcast(job.low), high = Vec<T>::broadcast(job.high);
  for (int64_t x = 0; x < job.out_w; x += Vec<T>::kWidth) {
    const int64_t lanes = job.out_w - x;
    const Vec<T> sum = Vec<T>::load(sums + x);
    const Vec<T> value = job.clamped
                             ? min(high, max(low, sum))
                             : finish(args, sum, args.skip ? args.skip + at + x : nullptr, lanes, slope);
    store_elements_n(value, args.out + at + x, lanes);
  }
}

// Units [begin, end), in the order [image][channel][band of rows].
template <typename T, typename S>
void depthwise_planes(const DepthwiseJob<T, S>& job, int64_t begin, int64_t end, const int64_t* offsets,
                      T* scratch) {
  const auto& args = job.args;
  const DepthwiseFilter& filter = args.filter;
  const DepthwisePlane plane(job);
  T* sums = scratch + plane.staged_size();
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t map = unit / job.plan.bands, c = map % filter.channels;
    const int64_t y = unit % job.plan.bands * job.plan.band_rows;
    const int64_t rows = std::min(job.plan.band_rows, job.out_h - y);
    stage_plane(job, plane, args.input + map * args.h * args.w, y, scratch);
    sum_plane(scratch, args.packed + c, filter.padded_channels(), offsets, filter.taps(),
              args.bias ? args.bias[c] : T(0), (rows - 1) * plane.pitch + job.out_w, sums);
    const Vec<T> slope = Vec<T>::broadcast(args.activation_params > 1 ? args.activation_param[c]
                                           : args.activation_params   ? args.activation_param[0]
                                                                      : T(0));
    for (int64_t r = 0; r < rows; ++r) {
      finish_plane_row(job, sums + r * plane.pitch, (map * job.out_h + y + r) * job.out_w, slope);
    }
  }
}
