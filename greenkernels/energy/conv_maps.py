"""The maps that a call of a convolution module reads and writes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .counts import Uncounted

Shape = tuple[int, ...]


def conv_maps(
    module: nn.Conv2d, weight: Tensor, input_shapes: Sequence[Sequence[int]]
) -> tuple[list[Shape], Tensor]:
    """Shapes of the input, with its batch, and of a skip if there is one; and the output, without memory.

    Args:
        weight: that of the module, or of its shape.
        input_shapes: of ``input`` and, if the call has one, of ``skip``.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    shape, *skip = (tuple(shape) for shape in input_shapes)
    if len(shape) == 3:
        shape = (1, *shape)
    if len(shape) != 4 or shape[1] != module.in_channels:
        raise Uncounted(f"input must be [batch, {module.in_channels}, h, w], got {list(shape)}")
    weight = weight.to("meta")
    try:
        with torch.no_grad():
            out = module._conv_forward(weight.new_empty(shape), weight, None)
    except RuntimeError as error:
        raise Uncounted(str(error).splitlines()[0]) from error
    return [shape, *skip], out
