// depthwise_conv2d for one instruction set: units of work in either layout. Included once per instruction
// set.
#include "cpu/activation.inl"
#include "cpu/conv_output.inl"
#include "cpu/depthwise_conv2d/tiles.inl"
#include "cpu/depthwise_conv2d/pixels.inl"
#include "cpu/depthwise_conv2d/even_lanes.inl"
#include "cpu/depthwise_conv2d/planes.inl"

// Units [begin, end) of channels_last maps, in the order [image][chunk of channels][band of rows].
template <typename T, typename S>
void depthwise_pixels(const DepthwiseJob<T, S>& job, int64_t begin, int64_t end) {
  const auto& args = job.args;
  const DepthwisePlan& plan = job.plan;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t part = unit / plan.bands;
    PixelBand band;
    band.n = part / plan.chunks;
    band.c_begin = part % plan.chunks * plan.chunk;
    band.c_end = std::min(band.c_begin + plan.chunk, args.filter.channels);
    band.y = unit % plan.bands * plan.band_rows;
    band.rows = std::min(plan.band_rows, job.out_h - band.y);
    plan.tiles ? run_tiles(job, band) : run_pixels(job, band);
  }
}

template <typename T, typename S>
DepthwiseStages<T, S> depthwise_stages() {
  return {kTileRows, &depthwise_pixels<T, S>, &depthwise_planes<T, S>};
}
