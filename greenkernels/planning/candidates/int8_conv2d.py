"""int8_conv2d as a candidate for nn.Conv2d layers, where the bounds on the result allow it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn import Int8Conv2d
from ...ops.int8_packing import is_depthwise, packed_bytes, packed_filter_bytes
from . import KINDS, FusedActivation, Options, Stem, stand_in
from .direct_conv2d import l2_bytes

MIN_GROUP_CHANNELS = (
    16  # of the output, half a panel: fewer and most products are with channels that do not exist
)
# Of csrc/cpu/int8_conv2d: rows of the micro-kernel, blocks of a run, bytes of a round of images, of packed rows.
MAX_ROWS, RUN = 12, 8
STAGE_BYTES, MAX_STAGED_BYTES = 8 << 20, 36 << 20
MIN_TILE_CHANNELS = 32  # on either side: below, transforms take longer than the products that they save
TAPS, MAX_TAP_BYTES = 16, 36 << 20  # of csrc/cpu/int8_winograd_conv2d: of the tiles of a group, at most


def refuses(conv: nn.Module) -> str | None:
    sizes = (conv.out_channels, conv.in_channels // conv.groups, conv.kernel_size, conv.groups)
    few = conv.groups > 1 and conv.out_channels // conv.groups < MIN_GROUP_CHANNELS
    if few and not is_depthwise(*sizes):
        return (
            f"groups={conv.groups} leave fewer than {MIN_GROUP_CHANNELS} output channels to a matrix product"
        )
    try:
        Int8Conv2d.from_module(conv)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error).splitlines()[0].removeprefix("Int8Conv2d: ")
    return None


def options(conv: nn.Module) -> Sequence[Options]:
    """Winograd's tiles too, which cost accuracy: only a measurement takes them."""
    plain = (conv.kernel_size, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
    wide = min(conv.in_channels, conv.out_channels) >= MIN_TILE_CHANNELS
    return [{}, {"tile": 2}] if plain and wide else [{}]


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(Int8Conv2d, conv, options, activation)


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """Size of the packed filter. That of the stock filter is not taken off: the caller's network still holds it."""
    sizes = (conv.out_channels, conv.in_channels // conv.groups, conv.kernel_size, conv.groups)
    taps = TAPS * (packed_bytes(*sizes[:2]) + 4 * conv.out_channels) if "tile" in options else 0
    return packed_filter_bytes(*sizes) + 8 * conv.out_channels + taps


def _image_bytes(conv: nn.Module, shape: Size) -> tuple[int, int]:
    """Of an image: its quantized map with padding, and at most as many output pixels as it has pixels then."""
    reach = [(k - 1) * d for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
    padding = conv.padding if isinstance(conv.padding, tuple) else reach
    h, w = (size + 2 * p for size, p in zip(shape[-2:], padding, strict=True))
    return conv.in_channels * h * w, h * w


def scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/int8_conv2d/forward.cpp` leases at most: quantized maps, rows in 16 bits without VNNI, sums."""
    if "tile" in options:  # taps, sums and transformed lines of each thread's group, or of all tiles
        line = math.ceil(conv.in_channels / 64) * 64
        block = TAPS * MAX_ROWS * (2 * line + 32 * 4 + 8)
        return torch.get_num_threads() * (l2_bytes() + 2 * block + TAPS * line * 4) + MAX_TAP_BYTES
    depth = 2 * (math.ceil(conv.weight[0].numel() / 64) * 64)
    threads, most = torch.get_num_threads(), 0
    for shape in shapes:
        batch = shape[0] if len(shape) == 4 else 1
        image, pixels = _image_bytes(conv, shape)
        images = min(batch, max(1, STAGE_BYTES // max(1, image)))
        gathered = min(images * pixels * depth, MAX_STAGED_BYTES) + threads * 2 * MAX_ROWS * (depth + 128)
        most = max(most, images * (image + 8 * pixels) + gathered)
    return most + threads * (2 * RUN * MAX_ROWS + 16) * 32 * 4


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """Where there are the instructions for it: four times the products in an instruction, a quarter of the bytes."""
    if not torch.ops.greenkernels.vnni():
        return "no 8-bit dot products on this CPU: only a measurement can tell which is faster"
    if conv.out_channels // conv.groups < 32 or conv.weight[0].numel() < 64:
        return "too few products to pay for the quantization of the input (rule: 32 channels of 64)"
    return {}


STEM = Stem(
    name="int8_conv2d",
    replaces=nn.Conv2d,
    lossy=True,
    precision="int8",
    activations=KINDS,
    refuses=refuses,
    options=options,
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    follows=True,
    links=lambda options: "tile" not in options,
)
