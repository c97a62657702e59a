"""Convolutions, transposed ones and linear layers: products with a weight, then a bias."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import nn

from .. import reuse
from ..counts import Call, Counts, Uncounted, rule


def at_least_one(outs: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The output sizes, if torch has any for these input sizes."""
    if min(outs) < 1:
        raise Uncounted(f"an input of sizes {list(sizes)} is too small, its output would have {list(outs)}")
    return outs


def out_sizes(module: nn.Module, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Spatial output sizes of a convolution."""
    if module.padding == "same":
        return sizes  # torch allows it for stride 1 only
    padding = (0,) * len(sizes) if module.padding == "valid" else module.padding
    terms = zip(sizes, padding, module.dilation, module.kernel_size, module.stride, strict=True)
    outs = tuple((size + 2 * pad - dil * (k - 1) - 1) // step + 1 for size, pad, dil, k, step in terms)
    return at_least_one(outs, sizes)


def transposed_out_sizes(module: nn.Module, sizes: tuple[int, ...]) -> tuple[int, ...]:
    terms = zip(
        sizes,
        module.padding,
        module.dilation,
        module.kernel_size,
        module.stride,
        module.output_padding,
        strict=True,
    )
    outs = tuple(
        (size - 1) * step - 2 * pad + dil * (k - 1) + extra + 1 for size, pad, dil, k, step, extra in terms
    )
    return at_least_one(outs, sizes)


def split(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Batch size and spatial sizes of ``[batch, channels, *sizes]`` or ``[channels, *sizes]``."""
    rank = len(module.kernel_size)
    if len(shape) not in (rank + 1, rank + 2) or shape[-rank - 1] != module.in_channels:
        raise Uncounted(f"input must be [batch, {module.in_channels}, {rank} sizes], got {list(shape)}")
    return (shape[0] if len(shape) == rank + 2 else 1), shape[-rank:]


@rule(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def convolution(module: nn.Module, call: Call) -> Counts:
    """2 operations a weight of a filter and output element, 1 more an output element with a bias."""
    batch, sizes = split(module, call.input)
    pixels = batch * math.prod(out_sizes(module, sizes))
    outputs, taps = pixels * module.out_channels, math.prod(module.kernel_size)
    depth = module.in_channels // module.groups * taps
    bias = outputs if module.bias is not None else 0
    work = call.work(2 * outputs * depth + bias, outputs, (module.weight, module.bias))
    each, size = (pixels, module.out_channels // module.groups, depth), call.dtype.itemsize
    row = sizes[-1] * module.in_channels * size
    return replace(work, streams=reuse.convolution(module.groups, each, row, taps, size))


@rule(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def transposed_convolution(module: nn.Module, call: Call) -> Counts:
    """2 operations a weight of a filter and input element, 1 more an output element with a bias."""
    batch, sizes = split(module, call.input)
    inputs = batch * module.in_channels * math.prod(sizes)
    outputs = batch * module.out_channels * math.prod(transposed_out_sizes(module, sizes))
    products = inputs * module.out_channels // module.groups * math.prod(module.kernel_size)
    bias = outputs if module.bias is not None else 0
    return call.work(2 * products + bias, outputs, (module.weight, module.bias))


@rule(nn.Linear)
def linear(module: nn.Linear, call: Call) -> Counts:
    """``x [..., k]``: 2 k operations an output element, 1 more with a bias."""
    if not call.input or call.input[-1] != module.in_features:
        raise Uncounted(f"input must be [..., {module.in_features}], got {list(call.input)}")
    outputs = math.prod(call.input[:-1]) * module.out_features
    bias = outputs if module.bias is not None else 0
    work = call.work(2 * outputs * module.in_features + bias, outputs, (module.weight, module.bias))
    rows = math.prod(call.input[:-1])
    return replace(
        work, streams=reuse.product(rows, module.out_features, module.in_features, call.dtype.itemsize)
    )
