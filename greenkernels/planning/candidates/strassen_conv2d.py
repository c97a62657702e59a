"""sgemm and strassen_gemm for nn.Conv2d layers with 1x1 filters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Size, nn

from ...nn import StrassenConv2d
from ...ops.strassen_levels import cold_start as cold_levels
from ...ops.strassen_packing import packed_size
from . import KINDS, FusedActivation, Options, Stem, refusal, stand_in
from .strassen_gemm import levels_to_try, rows_bytes


def refuses(conv: nn.Module) -> str | None:
    return refusal(StrassenConv2d, conv)


def options(conv: nn.Module) -> Sequence[Options]:
    return [{"levels": levels} for levels in levels_to_try(conv.in_channels, conv.out_channels)]


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(StrassenConv2d, conv, options, activation)


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """Size of the packed weight: sums of its blocks, columns rounded up to a multiple of 16."""
    size = packed_size(conv.out_channels, conv.in_channels, options["levels"])
    return size * max(4, conv.weight.element_size())


def scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    return rows_bytes()


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    pixels = min((math.prod(shape) // max(1, conv.in_channels) for shape in shapes), default=0)
    levels = cold_levels(pixels, conv.out_channels, conv.in_channels)
    if levels:
        return {"levels": 1}  # the second one pays for a weight that is not packed before alone
    return "a direct convolution like torch's own: only a measurement can tell which is faster"


STEM = Stem(
    name="strassen_conv2d",
    replaces=nn.Conv2d,
    lossy=False,
    activations=KINDS,
    refuses=refuses,
    options=options,
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    follows=True,
)
