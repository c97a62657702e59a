"""direct_conv2d: one convolution with an odd square filter, padding half of it, its weight packed before."""

import torch
from torch.nn import functional as F

from ..simulation import Problem, sizes_of

SIZES = "BATCHxINxOUTxHxWxFILTER"


def problem(sizes: tuple[int, ...], memory_format: torch.memory_format = torch.channels_last) -> Problem:
    """The convolution of a random map, and its value in float64.

    Raises:
        ValueError: ``sizes`` are not batch, input and output channels, h, w and filter.
    """
    batch, in_c, out_c, h, w, filter_size = sizes_of(SIZES, sizes)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, in_c, h, w, generator=generator).to(memory_format=memory_format)
    weight = torch.randn(out_c, in_c, filter_size, filter_size, generator=generator)
    packed = torch.ops.greenkernels.direct_conv2d_pack(weight, 1)
    padding = filter_size // 2
    exact = F.conv2d(x.double(), weight.double(), padding=padding)
    geometry = [filter_size] * 2, [1, 1], [padding] * 2, [1, 1], 1
    args = (x, packed, None, out_c, *geometry, None, None, None, 1.0)
    multiply_adds = filter_size**2 * in_c * exact.numel()
    return Problem("direct_conv2d_packed", args, exact, multiply_adds)
