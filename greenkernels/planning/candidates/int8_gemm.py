"""int8_gemm as a candidate for nn.Linear layers, where the bounds on the result allow it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn import Int8Linear
from ...ops.int8_packing import packed_bytes
from . import KINDS, FusedActivation, Options, Stem, stand_in

# Of csrc/cpu/int8_gemm: rows of the micro-kernel, blocks of a run, bytes of packed rows at most.
MAX_ROWS, RUN = 12, 8
MAX_STAGED_BYTES = 36 << 20


def refuses(linear: nn.Module) -> str | None:
    try:
        Int8Linear.from_module(linear)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error).splitlines()[0].removeprefix("Int8Linear: ")
    return None


def build(linear: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(Int8Linear, linear, options, activation)


def extra_bytes(linear: nn.Module, options: Options) -> int:
    """Size of the packed weight. That of the stock weight is not taken off: the caller's network still holds it."""
    return packed_bytes(linear.out_features, linear.in_features) + 8 * linear.out_features


def scratch_bytes(linear: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/int8_gemm/gemm.cpp` leases at most: packed rows, in 16 bits without VNNI, their scales, sums."""
    depth = 2 * (math.ceil(linear.in_features / 64) * 64)
    most = 0
    for shape in shapes:
        m = math.prod(shape[:-1])
        most = max(most, min(m * depth, MAX_STAGED_BYTES) + MAX_ROWS * depth + 8 * m)
    return most + torch.get_num_threads() * RUN * MAX_ROWS * 32 * 4


def cold_start(linear: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """Where there are the instructions for it: four times the products in an instruction, a quarter of the bytes."""
    if not torch.ops.greenkernels.vnni():
        return "no 8-bit dot products on this CPU: only a measurement can tell which is faster"
    if min(linear.in_features, linear.out_features) < 64:
        return "too few features to pay for the quantization of the input (rule: 64)"
    return {}


STEM = Stem(
    name="int8_gemm",
    replaces=nn.Linear,
    lossy=True,
    precision="int8",
    activations=KINDS,
    refuses=refuses,
    options=lambda linear: [{}],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    follows=True,
    links=lambda options: True,
)
