"""Memory formats of feature maps, by torch's own rule; the twin of ``csrc/ops/maps.h``."""

import torch
from torch import Tensor


def suggested_format(x: Tensor) -> torch.memory_format:
    """The format torch reads from the strides of a 4-D tensor, by which its convolutions choose that of their
    output.

    Where the strides fit both formats, as for one channel or 1x1 maps, the comparisons decide as torch's do.
    """
    sizes, strides = x.shape, x.stride()
    if strides[1] == 0:
        return torch.contiguous_format
    least = 0
    for d in (1, 3, 2, 0):
        if sizes[d] == 0 or strides[d] < least or (d == 0 and least == strides[1]):
            return torch.contiguous_format
        least = strides[d] * sizes[d] if sizes[d] > 1 else strides[d]
    return torch.channels_last


def empty_like_format(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """An uninitialised map with the dtype, device and suggested memory format of ``like``."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=suggested_format(like))


def with_format(x: Tensor, like: Tensor) -> Tensor:
    """``x`` with the dtype of ``like`` and its suggested memory format, as ``empty_like_format`` would lay it out."""
    out = x.to(like.dtype, memory_format=suggested_format(like))
    expected = empty_like_format(like.to("meta"), tuple(x.shape)).stride()
    return (
        out
        if out.stride() == expected
        else torch.empty_strided(out.shape, expected, dtype=out.dtype, device=out.device).copy_(out)
    )
