"""Winograd for 3x3 convolutions of stride 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Size, nn

from ...measure.machine import cpu_facts
from ...nn import WinogradConv2d
from ...ops.winograd_transforms import packed_size
from . import CPU_AND_CUDA, KINDS, FusedActivation, Options, Stem, refusal, stand_in

TILES = (2, 4, 6)

# Cold-start rules after ncnn's choice on x86: transforms cost per input and per output channel, so few channels on
# either side leave too few multiplications to save; F6's transforms and its error pay only with few channels.
MIN_CHANNELS = 16
MAX_CHANNELS_TILE6 = 63
# Of csrc/cpu/winograd_conv2d: rows of the micro-kernel, channels of a panel and of a vector, bytes staged at most.
MAX_ROWS, PANEL, LANES = 14, 32, 16
PANEL_GROUP = 2  # kPanelGroup of csrc/cpu/winograd_conv2d/plan.cpp
MAX_STAGED_BYTES = 32 << 20
# Of csrc/cuda/winograd_conv2d/staged.cuh.
MAX_CHUNK_BYTES, MIN_CHUNK_TILES = 256 << 20, 128

MIN_CUT = 1.7  # multiplications saved, edge waste counted: below, the transforms eat the gain


def refuses(conv: nn.Module) -> str | None:
    return refusal(WinogradConv2d, conv, tile=2)


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(WinogradConv2d, conv, options, activation)


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """Size of the packed weight, float32 for half precision too."""
    size = max(4, conv.weight.element_size())
    return packed_size(conv.out_channels, conv.in_channels, options["tile"]) * size


def output_size(conv: nn.Module, shape: Size) -> tuple[int, int]:
    pad_h, pad_w = (
        conv.padding if isinstance(conv.padding, tuple) else ((0, 0) if conv.padding == "valid" else (1, 1))
    )
    return shape[-2] + 2 * pad_h - 2, shape[-1] + 2 * pad_w - 2


@cache
def l2_bytes() -> int:
    return cpu_facts()["caches_bytes"].get("L2") or 1 << 21


def scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What a call holds at most on the device where the convolution is."""
    return (cuda_scratch_bytes if conv.weight.is_cuda else cpu_scratch_bytes)(conv, options, shapes)


def tiles_of(conv: nn.Module, tile: int, shape: Size) -> int:
    out_h, out_w = output_size(conv, shape)
    return (shape[0] if len(shape) == 4 else 1) * math.ceil(out_h / tile) * math.ceil(out_w / tile)


def cuda_scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """`csrc/cuda/winograd_conv2d/staged.cuh`: the weight in plain order, and the tiles of a chunk."""
    size, tile = max(4, conv.weight.element_size()), options["tile"]
    if tile == 2 and size == 4:
        return 0  # one kernel, in shared memory
    per_tile = (tile + 2) ** 2 * (conv.in_channels + conv.out_channels) * size
    most = max((tiles_of(conv, tile, shape) for shape in shapes), default=0)
    fit = max(MIN_CHUNK_TILES, MAX_CHUNK_BYTES // per_tile)
    return (tile + 2) ** 2 * conv.in_channels * conv.out_channels * size + min(most, fit) * per_tile


def cpu_scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/winograd_conv2d/plan.cpp` leases at most: tiles of each thread's blocks, or of all blocks."""
    taps, size = (options["tile"] + 2) ** 2, max(4, conv.weight.element_size())
    channels, threads = math.ceil(conv.in_channels / LANES) * LANES, torch.get_num_threads()
    block = MAX_ROWS * taps * (channels + PANEL) * size
    own = threads * max(block, l2_bytes() // 2)
    most = own
    for shape in shapes:
        tiles = tiles_of(conv, options["tile"], shape)
        staged = tiles * taps * channels * size
        if staged <= MAX_STAGED_BYTES:
            most = max(most, staged + threads * tiles * taps * PANEL_GROUP * PANEL * size)
    return most


def effective_cut(tile: int, out_h: int, out_w: int) -> float:
    """Multiplications saved by F(tile x tile), with those wasted beyond the edge of the map: 4x and less for tile 4."""
    covered = math.ceil(out_h / tile) * math.ceil(out_w / tile) * tile * tile
    return 9 * tile * tile / (tile + 2) ** 2 * (out_h * out_w / covered)


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    channels = min(conv.in_channels, conv.out_channels)
    if channels < MIN_CHANNELS:
        return f"{channels} channels, too few to pay for the transforms (rule: {MIN_CHANNELS})"
    sizes = [output_size(conv, shape) for shape in shapes]
    out_h, out_w = min(h for h, _ in sizes), min(w for _, w in sizes)
    if min(out_h, out_w) < 1:
        return "the output is empty"
    few = max(conv.in_channels, conv.out_channels) <= MAX_CHANNELS_TILE6
    cuts = {tile: effective_cut(tile, out_h, out_w) for tile in (TILES if few else TILES[:2])}
    tile = max(cuts, key=lambda t: (cuts[t], -t))
    if cuts[tile] < MIN_CUT:
        return f"maps of {out_h} x {out_w} waste too much at the edges (rule: {MIN_CUT}x fewer products)"
    return {"tile": tile}


STEM = Stem(
    name="winograd_conv2d",
    replaces=nn.Conv2d,
    lossy=False,
    activations=KINDS,
    refuses=refuses,
    options=lambda conv: [{"tile": tile} for tile in TILES],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    follows=True,
    devices=CPU_AND_CUDA,
)
