"""separable_conv2d as a candidate for blocks of nn.Conv2d layers: it stands in for the last one, and computes all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn.separable_end import SeparableEnd
from . import KINDS, FusedActivation, Options, Stem, direct_conv2d, refusal, stand_in


def refuses(conv: nn.Module) -> str | None:
    if conv.weight.dtype != torch.float32:
        return f"weight must be float32, got dtype={conv.weight.dtype}"
    return refusal(SeparableEnd, conv)


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(SeparableEnd, conv, options, activation)


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """The layers stay by themselves: in channels_last a block mostly wins, in NCHW its maps are copied."""
    return "whether one call is faster depends on the memory format: only a measurement can tell"


def scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """The maps between the layers, at most half of the L2 caches of all threads, beside what its layers lease."""
    within = torch.get_num_threads() * direct_conv2d.l2_bytes()
    return within + direct_conv2d.scratch_bytes(conv, options, shapes)


STEM = Stem(
    name="separable_conv2d",
    replaces=nn.Conv2d,
    lossy=False,
    activations=KINDS - {"leaky_relu"},
    refuses=refuses,
    options=lambda conv: [{}],
    build=build,
    extra_bytes=direct_conv2d.extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    follows=True,
    before=("direct_conv2d", "depthwise_conv2d"),
)
