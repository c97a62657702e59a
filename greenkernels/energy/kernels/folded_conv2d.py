"""Counts of torch's convolution with what follows it: a batch norm costs a bias, the rest what it costs alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..counts import Call, Counts
from ..layer_rules.convolution import convolution
from ..layer_rules.pointwise import FUSED

if TYPE_CHECKING:
    from ...nn import FoldedConv2d


def count_module(module: FoldedConv2d, *input_shapes: Sequence[int]) -> Counts:
    """Counts of a call.

    Args:
        input_shapes: of ``input`` and, if the call has one, of ``skip``.

    Raises:
        Uncounted: a shape that the module does not take.
    """
    shape, *skip = (tuple(shape) for shape in input_shapes)
    work = convolution(module, Call((shape,), module.weight.dtype))
    outputs = work.bytes_written // module.weight.element_size()
    shift = 1 if module._norm and module.bias is None else 0  # the bias that folding makes
    epilogue = shift + FUSED.get(module.activation, 0) + (2 if skip else 0)
    skip_bytes = sum(math.prod(s) for s in skip) * module.weight.element_size()
    maps = (*work.maps, skip_bytes) if skip else work.maps
    return replace(
        work, flops=work.flops + outputs * epilogue, bytes_read=work.bytes_read + skip_bytes, maps=maps
    )
