"""Pooling: one operation for each further element of a window, and one for the division of an average."""

from __future__ import annotations

import math

from torch import nn
from torch.nn.modules.utils import _ntuple

from ..counts import Call, Counts, Uncounted, rule
from .convolution import at_least_one

DIMS = {
    nn.MaxPool1d: 1,
    nn.MaxPool2d: 2,
    nn.MaxPool3d: 3,
    nn.AvgPool1d: 1,
    nn.AvgPool2d: 2,
    nn.AvgPool3d: 3,
    nn.AdaptiveAvgPool1d: 1,
    nn.AdaptiveAvgPool2d: 2,
    nn.AdaptiveAvgPool3d: 3,
    nn.AdaptiveMaxPool1d: 1,
    nn.AdaptiveMaxPool2d: 2,
    nn.AdaptiveMaxPool3d: 3,
}


def window_outputs(module: nn.Module, size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Windows along one dimension."""
    span = size + 2 * pad - dilation * (kernel - 1) - 1
    outputs = (-(-span // stride) if module.ceil_mode else span // stride) + 1
    if module.ceil_mode and (outputs - 1) * stride >= size + pad:
        outputs -= 1  # torch drops a window that would begin in the padding at the end
    return outputs


@rule(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
@rule(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def pool(module: nn.Module, call: Call) -> Counts:
    """Windows count in full where they reach into the padding."""
    dims = DIMS[type(module)]
    per_dim = _ntuple(dims)
    kernel, pad, stride = per_dim(module.kernel_size), per_dim(module.padding), per_dim(module.stride)
    dilation = per_dim(getattr(module, "dilation", 1))
    sizes = zip(call.input[-dims:], kernel, stride, pad, dilation, strict=True)
    outs = tuple(window_outputs(module, *axis) for axis in sizes)
    outputs = math.prod(call.input[:-dims]) * math.prod(at_least_one(outs, call.input[-dims:]))
    window = math.prod(kernel)
    if not isinstance(module, (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)):
        return call.work(window * outputs, outputs)  # window - 1 additions and a division
    if module.return_indices:
        raise Uncounted("return_indices=True writes indices, which no rule counts")
    return call.work((window - 1) * outputs, outputs)


@rule(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
@rule(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
def adaptive_pool(module: nn.Module, call: Call) -> Counts:
    """Window i of n covers floor(i size / n) to ceil((i + 1) size / n): windows may overlap."""
    dims = DIMS[type(module)]
    wanted = _ntuple(dims)(module.output_size)
    sizes = call.input[-dims:]
    outs = [size if out is None else out for out, size in zip(wanted, sizes, strict=True)]
    leading = math.prod(call.input[:-dims])
    covered = leading * math.prod(
        sum(-(-(i + 1) * size // out) - i * size // out for i in range(out))
        for size, out in zip(sizes, outs, strict=True)
    )
    outputs = leading * math.prod(outs)
    if not isinstance(module, (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)):
        return call.work(covered, outputs)
    if module.return_indices:
        raise Uncounted("return_indices=True writes indices, which no rule counts")
    return call.work(covered - outputs, outputs)
