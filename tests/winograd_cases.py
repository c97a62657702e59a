"""Inputs, the float64 reference and the error bound that all winograd_conv2d tests share."""

import torch
import torch.nn.functional as F
from conv_cases import COMPILE_BACKEND, COMPILED, FORMATS, assert_close, make, needs_kernels
from torch import Tensor

from greenkernels.ops import activation as activations

__all__ = [
    "COMPILED",
    "COMPILE_BACKEND",
    "FORMATS",
    "TILES",
    "assert_close",
    "make",
    "needs_kernels",
    "reference",
    "tolerance",
]

TILES = (2, 4, 6)

# How much larger than direct convolution's the rounding errors of a tile are: from the transform matrices,
# output by output averaged, worst output.
AMPLIFICATION = {2: 1.7, 4: 4.8, 6: 17.0}


def reference(
    input, weight, bias=None, *, padding=0, activation=None, activation_param=None, skip=None, skip_scale=1.0
):
    """The formula of csrc/api/winograd_conv2d.h in float64, for any sizes."""
    padding = padding if isinstance(padding, tuple) else (padding, padding)
    x = F.pad(input.double(), (padding[1], padding[1], padding[0], padding[0]))
    if 0 in (*input.shape, *weight.shape):  # torch refuses some of these
        out = x.new_zeros(x.shape[0], weight.shape[0], x.shape[2] - 2, x.shape[3] - 2)
    else:
        out = F.conv2d(x, weight.double())
    if bias is not None:
        out = out + bias.double().view(1, -1, 1, 1)
    if skip is not None:
        out = out + skip_scale * skip.double()
    param = (
        torch.tensor([float(activation_param)]) if isinstance(activation_param, float) else activation_param
    )
    return activations.apply(activation, out, None if param is None else param.double())


def tolerance(
    expected: Tensor, input, weight, tile: int, bias=None, skip=None, skip_scale=1.0, activation=None
) -> Tensor:
    """The largest error that rounding explains, element by element.

    On its way into a sum a value meets about in_c + 20 roundings (the sum over channels, then the
    transforms), each of at most eps / 2 of the size of the result; independent errors add up as their root
    mean square, which the tile amplifies; 5 standard deviations cover the worst of all elements tested here.
    Size of the result: filter norm times largest input.
    """
    eps = torch.finfo(torch.float64 if input.dtype == torch.float64 else torch.float32).eps
    weight, input = weight.double(), input.double()
    size = 0.0
    if input.numel() and weight.numel():
        size = (weight.flatten(1).norm(dim=1).max() * input.abs().max()).item()
    bound = 2.5 * eps * (weight.shape[1] + 20) ** 0.5 * AMPLIFICATION[tile] * size
    for term, scale in ((bias, 1.0), (skip, abs(skip_scale))):  # each is added with two roundings of the sum
        if term is not None and term.numel():
            bound += eps * (size + scale * term.double().abs().max().item())
    if (
        activation is not None
    ):  # slopes are at most 1.5 (hardswish); 8 eps cover the approximation of the function itself
        bound = 1.5 * bound + 8 * eps * max(1.0, size)
    return torch.full_like(expected, bound)
