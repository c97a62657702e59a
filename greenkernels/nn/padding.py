"""What the stand-ins for nn.Conv2d make of its padding: kernels pad with zeros, the same on both sides."""

import torch.nn.functional as F
from torch import Tensor, nn


def kernel_padding(conv: nn.Conv2d, input: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The input, padded where the kernel cannot do that, and the zero padding that the kernel shall add to it."""
    if conv.padding_mode != "zeros":
        return F.pad(input, conv._reversed_padding_repeated_twice, mode=conv.padding_mode), (0, 0)
    if conv.padding == "valid":
        return input, (0, 0)
    if conv.padding != "same":
        return input, conv.padding
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    if left == right and top == bottom:
        return input, (top, left)
    return F.pad(input, (left, right, top, bottom)), (0, 0)
