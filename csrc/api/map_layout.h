// The two orders in memory of a feature map [batch, channels, h, w], both dense: channels last is kNhwc.
#pragma once

namespace greenkernels {

enum class MapLayout { kNchw, kNhwc };

}  // namespace greenkernels
