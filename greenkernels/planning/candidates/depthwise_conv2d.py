"""depthwise_conv2d as a candidate for nn.Conv2d layers with a filter for every channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn import DepthwiseConv2d
from . import CPU_AND_CUDA, KINDS, FusedActivation, Options, Stem, refusal, stand_in

PLANE_BYTES = 24 << 10  # kPlaneElements of csrc/cpu/depthwise_conv2d/plan.cpp: a staged band of an NCHW plane


def refuses(conv: nn.Module) -> str | None:
    return refusal(DepthwiseConv2d, conv)


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(DepthwiseConv2d, conv, options, activation)


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """Size of the packed weight: channels rounded up to a multiple of 16, float32 for half precision too."""
    return math.prod(conv.kernel_size) * -(-conv.out_channels // 16) * 16 * max(4, conv.weight.element_size())


def scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What an NCHW call leases at most: a band of a plane with the rows that its filter reaches, and its sums."""
    size, threads = max(4, conv.weight.element_size()), torch.get_num_threads()
    reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    most = 0
    for shape in shapes:
        width = shape[-1] + 2 * reach[1] + conv.stride[1]
        rows = PLANE_BYTES // (4 * width) + reach[0] + 2 * conv.stride[0]
        most = max(most, 2 * rows * width * size + 4096)
    return threads * most


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """The stock layer stays: in channels_last this kernel mostly wins, in NCHW it may take twice torch's time."""
    return "which one is faster depends on the memory format and the filter: only a measurement can tell"


STEM = Stem(
    name="depthwise_conv2d",
    replaces=nn.Conv2d,
    lossy=False,
    activations=KINDS,
    refuses=refuses,
    options=lambda conv: [{}],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    follows=True,
    devices=CPU_AND_CUDA,
)
