"""torch's own convolution for nn.Conv2d layers with a batch norm, an addition or an activation behind them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Size, nn

from ...nn import FoldedConv2d
from . import KINDS, FusedActivation, Options, Stem, refusal, stand_in


def refuses(conv: nn.Module) -> str | None:
    return refusal(FoldedConv2d, conv)


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(FoldedConv2d, conv, options, activation)


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """The folded weight, as it is and in oneDNN's order."""
    return 2 * conv.weight.numel() * conv.weight.element_size()


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """Always: the convolution stays torch's, and what follows it costs less."""
    return {}


STEM = Stem(
    name="folded_conv2d",
    replaces=nn.Conv2d,
    lossy=False,
    activations=KINDS,
    refuses=refuses,
    options=lambda conv: [{}],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    follows=True,
    for_chains=True,
)
