"""depthwise_conv2d: one convolution with an odd square filter, padding half of it, its weight packed before."""

import torch
from torch.nn import functional as F

from ..simulation import Problem, sizes_of

SIZES = "BATCHxCHANNELSxHxWxFILTER"


def problem(sizes: tuple[int, ...], memory_format: torch.memory_format = torch.channels_last) -> Problem:
    """The convolution of a random map, and its value in float64.

    Raises:
        ValueError: ``sizes`` are not batch, channels, h, w and filter.
    """
    batch, channels, h, w, filter_size = sizes_of(SIZES, sizes)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, h, w, generator=generator).to(memory_format=memory_format)
    weight = torch.randn(channels, 1, filter_size, filter_size, generator=generator)
    packed = torch.ops.greenkernels.depthwise_conv2d_pack(weight)
    padding = filter_size // 2
    exact = F.conv2d(x.double(), weight.double(), padding=padding, groups=channels)
    geometry = [filter_size] * 2, [1, 1], [padding] * 2, [1, 1]
    args = (x, packed, None, *geometry, None, None, None, 1.0)
    return Problem("depthwise_conv2d_packed", args, exact, filter_size**2 * exact.numel())
