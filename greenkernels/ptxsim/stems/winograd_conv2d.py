"""winograd_conv2d: one convolution with padding 1 in tiles of 2, its weight packed before."""

import torch
from torch.nn import functional as F

from ...ops import winograd_transforms
from ..simulation import Problem, sizes_of

SIZES = "BATCHxINxOUTxHxW"


def problem(sizes: tuple[int, ...], memory_format: torch.memory_format = torch.channels_last) -> Problem:
    """The convolution of a random map, and its value in float64.

    Raises:
        ValueError: ``sizes`` are not batch, input and output channels, h and w.
    """
    batch, in_c, out_c, h, w = sizes_of(SIZES, sizes)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, in_c, h, w, generator=generator).to(memory_format=memory_format)
    weight = torch.randn(out_c, in_c, 3, 3, generator=generator)
    packed = winograd_transforms.pack(weight, 2)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    args = (x, packed, None, out_c, [1, 1], 2, None, None, None, 1.0)
    return Problem("winograd_conv2d_packed", args, exact, 9 * batch * in_c * out_c * h * w)
