"""int4_gemm as a candidate for nn.Linear layers, where it is asked for by name and the bounds on the result allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Size, nn

from ...nn import Int4Linear
from ...ops.int4_packing import GROUPS, group_count, packed_bytes
from . import KINDS, FusedActivation, Options, Stem, stand_in

MOST_ROWS = (
    8  # of a call that reads the weight about as long as it computes: 1.08x int8 at 8 rows, 0.74x at 32
)


def refuses(linear: nn.Module) -> str | None:
    try:
        Int4Linear.from_module(linear)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error).splitlines()[0].removeprefix("Int4Linear: ")
    return None


def build(linear: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(Int4Linear, linear, options, activation)


def extra_bytes(linear: nn.Module, options: Options) -> int:
    """Size of the packed weight. That of the stock weight is not taken off: the caller's network still holds it."""
    return packed_bytes(linear.out_features, linear.in_features, options["group"]) + 4 * linear.out_features


def scratch_bytes(linear: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/few_bits/gemm.h` leases: quantized rows, the starts of their groups, scales, zero points."""
    groups = group_count(linear.in_features, options["group"])
    return max((math.prod(s[:-1]) * (groups * (options["group"] + 4) + 8) for s in shapes), default=0)


def cold_start(linear: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """Where the weight is what takes the time."""
    if min(linear.in_features, linear.out_features) < 64:
        return "too few features to pay for the quantization of the input (rule: 64)"
    if max((math.prod(s[:-1]) for s in shapes), default=0) > MOST_ROWS:
        return f"too many rows: int8_gemm is faster (rule: {MOST_ROWS})"
    return {"group": 64}


STEM = Stem(
    name="int4_gemm",
    replaces=nn.Linear,
    lossy=True,
    activations=KINDS,
    refuses=refuses,
    options=lambda linear: [{"group": group} for group in GROUPS],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
)
