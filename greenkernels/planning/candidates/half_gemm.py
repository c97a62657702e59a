"""half_gemm as a candidate for nn.Linear layers, where it is asked for by name and the bounds on the result allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn import HalfLinear
from ...ops.half_packing import FORMATS, packed_elements
from . import KINDS, FusedActivation, Options, Stem, stand_in
from .strassen_gemm import rows_bytes

# Of a float32 weight that may not stay in cache: below, reading half of it gains little.
LEAST_BYTES = 2 << 20
MOST_ROWS = 16  # of a call that reads the weight about as long as it computes
FEWEST_BLOCKED = 4  # rows that every instruction set takes without scratch: two blocks of the scalar level
# Of csrc/cpu/sgemm/plan.cpp: columns that a share packs at a time, and b where it is packed first.
MAX_COLUMN_BYTES, MAX_WIDENED_BYTES = 8 << 20, 32 << 20
OPTIONS = tuple({"storage": storage} for storage in FORMATS)


def refuses(linear: nn.Module, storage: str = "bfloat16") -> str | None:
    try:
        HalfLinear.check(linear, storage)
    except ValueError as error:
        return str(error)
    return None


def options_of(linear: nn.Module) -> list[Options]:
    """The storages that hold the weight."""
    return [options for options in OPTIONS if refuses(linear, **options) is None]


def build(linear: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(HalfLinear, linear, options, activation)


def extra_bytes(linear: nn.Module, options: Options) -> int:
    """Size of the packed weight. That of the stock weight is not taken off: the caller's network still holds it."""
    return 2 * packed_elements(linear.out_features, linear.in_features) + 4 * linear.out_features


def scratch_bytes(linear: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """Nothing for few rows, else what sgemm leases and the panels that it widens at a time."""
    if max((math.prod(s[:-1]) for s in shapes), default=0) <= FEWEST_BLOCKED:
        return 0
    return rows_bytes() + torch.get_num_threads() * MAX_COLUMN_BYTES + MAX_WIDENED_BYTES


def cold_start(linear: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """Where the weight is what takes the time."""
    if 4 * linear.weight.numel() < LEAST_BYTES:
        return f"a weight that stays in cache (rule: {LEAST_BYTES} bytes)"
    if max((math.prod(s[:-1]) for s in shapes), default=0) > MOST_ROWS:
        return f"too many rows: float32 is as fast (rule: {MOST_ROWS})"
    return {"storage": "bfloat16" if refuses(linear, "float16") else "float16"}


STEM = Stem(
    name="half_gemm",
    replaces=nn.Linear,
    lossy=True,
    activations=KINDS,
    refuses=refuses,
    options=options_of,
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
)
