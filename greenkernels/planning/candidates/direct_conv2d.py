"""direct_conv2d as a candidate for nn.Conv2d layers of any geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Size, nn

from ...measure.machine import cpu_facts
from ...nn import DirectConv2d
from . import CPU_AND_CUDA, KINDS, FusedActivation, Options, Stem, refusal, stand_in

MIN_GROUP_CHANNELS = 16  # on either side: half a panel of the kernel
# Of csrc/cpu/direct_conv2d: channels of a panel, pixels of a column, blocks of a run, bytes staged at most.
PANEL, COLUMN_STEP, RUN = 32, 16, 8
MAX_STAGED_BYTES = 32 << 20


def refuses(conv: nn.Module) -> str | None:
    if conv.groups > 1 and min(conv.in_channels, conv.out_channels) // conv.groups < MIN_GROUP_CHANNELS:
        return f"groups={conv.groups} leave fewer than {MIN_GROUP_CHANNELS} channels to a matrix product"
    return refusal(DirectConv2d, conv)


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(DirectConv2d, conv, options, activation)


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """Size of the packed weight: that of the weight, output channels of a group rounded up to a multiple of 16."""
    channels = conv.out_channels // conv.groups
    padded = (channels + 15) // 16 * 16
    return conv.weight.numel() // max(1, channels) * padded * conv.weight.element_size()


@cache
def l2_bytes() -> int:
    return cpu_facts()["caches_bytes"].get("L2") or 1 << 21


def scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/direct_conv2d/plan.cpp` leases at most: gathered input, sums, and the padded input on stage."""
    size, threads = max(4, conv.weight.element_size()), torch.get_num_threads()
    depth = conv.groups * math.ceil(conv.weight[0].numel() / 16) * 16
    sums = (RUN * COLUMN_STEP + 16) * PANEL * size
    gathered = max(
        COLUMN_STEP * depth * size, l2_bytes() * 4 // 7
    )  # half of L2, columns padded from 14 to 16
    most = 0
    for shape in shapes:
        batch = shape[0] if len(shape) == 4 else 1
        reach = [2 * (k - 1) * d for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
        if isinstance(conv.padding, tuple):
            reach = [max(r, 2 * p) + s for r, p, s in zip(reach, conv.padding, conv.stride, strict=True)]
        padded = (shape[-2] + reach[0]) * (shape[-1] + reach[1])
        stage = conv.in_channels * padded * size
        all_gathered = min(MAX_STAGED_BYTES * 8 // 7, batch * padded * depth * size)
        most = max(most, threads * (gathered + sums + stage), all_gathered + threads * (sums + stage))
    return most


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """The stock layer stays: both are direct convolutions, and which one is faster depends on the machine."""
    return "a direct convolution like torch's own: only a measurement can tell which is faster"


STEM = Stem(
    name="direct_conv2d",
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
