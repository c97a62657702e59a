"""direct_conv2d as a candidate for nn.Conv2d layers of any geometry."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Size, nn

from ...nn import DirectConv2d
from . import FusedActivation, Options, Stem

MIN_GROUP_CHANNELS = 16  # on either side: half a panel of the kernel


def refuses(conv: nn.Module) -> str | None:
    if conv.groups > 1 and min(conv.in_channels, conv.out_channels) // conv.groups < MIN_GROUP_CHANNELS:
        return f"groups={conv.groups} leave fewer than {MIN_GROUP_CHANNELS} channels to a matrix product"
    try:
        DirectConv2d.from_module(conv)
    except (ValueError, TypeError) as error:
        return str(error).splitlines()[0].removeprefix("DirectConv2d: ")
    return None


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    if activation is None:
        return DirectConv2d.from_module(conv, **options)
    return DirectConv2d.from_module(
        conv, **options, activation=activation.kind, activation_param=activation.param
    )


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """Size of the packed weight: that of the weight, output channels of a group rounded up to a multiple of 16."""
    channels = conv.out_channels // conv.groups
    padded = (channels + 15) // 16 * 16
    return conv.weight.numel() // max(1, channels) * padded * conv.weight.element_size()


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """The stock layer stays: both are direct convolutions, and which one is faster depends on the machine."""
    return "a direct convolution like torch's own: only a measurement can tell which is faster"


STEM = Stem(
    name="direct_conv2d",
    replaces=nn.Conv2d,
    lossy=False,
    activations=frozenset(
        ("relu", "relu6", "leaky_relu", "silu", "gelu", "sigmoid", "tanh", "hardswish", "hardsigmoid")
    ),
    refuses=refuses,
    options=lambda conv: [{}],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
)
