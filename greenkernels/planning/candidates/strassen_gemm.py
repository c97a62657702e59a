"""sgemm and strassen_gemm for nn.Linear layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn import StrassenLinear
from ...ops.strassen_levels import cold_start as cold_levels
from ...ops.strassen_packing import packed_size
from . import CPU_AND_CUDA, FusedActivation, Options, Stem, refusal

MIN_FEATURES = 1024  # of layers for which a level of Strassen's algorithm is tried: below it never won
# Of csrc/cpu/sgemm/plan.cpp: packed rows of a, half of L2, for any L2 up to 8 MiB, and 32 sums for each of them.
MAX_ROWS_BYTES, MAX_SUMS_BYTES = 4 << 20, 1 << 17


def refuses(linear: nn.Module) -> str | None:
    return refusal(StrassenLinear, linear, levels=0)


def levels_to_try(in_features: int, out_features: int) -> Sequence[int]:
    return (0, 1) if min(in_features, out_features) >= MIN_FEATURES else (0,)


def options(linear: nn.Module) -> Sequence[Options]:
    return [{"levels": levels} for levels in levels_to_try(linear.in_features, linear.out_features)]


def build(linear: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    kind = None if activation is None else activation.kind
    return StrassenLinear.from_module(linear, **options, activation=kind)


def extra_bytes(linear: nn.Module, options: Options) -> int:
    """Size of the packed weight: sums of its blocks, columns rounded up to a multiple of 16."""
    size = packed_size(linear.out_features, linear.in_features, options["levels"])
    return size * max(4, linear.weight.element_size())


def rows_bytes() -> int:
    """What `csrc/cpu/sgemm/plan.cpp` leases at most for a packed weight: rows, sums and a tile of each thread."""
    return torch.get_num_threads() * (MAX_ROWS_BYTES + MAX_SUMS_BYTES + (1 << 13))


def scratch_bytes(linear: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    return rows_bytes()


def cold_start(linear: nn.Module, shapes: Sequence[Size]) -> Options | str:
    rows = min((math.prod(shape[:-1]) for shape in shapes), default=0)
    levels = cold_levels(rows, linear.out_features, linear.in_features, linear.weight.device)
    if levels:
        return {"levels": 1}  # the second one pays for a weight that is not packed before alone
    return "a dense product like torch's own: only a measurement can tell which is faster"


STEM = Stem(
    name="strassen_gemm",
    replaces=nn.Linear,
    lossy=False,
    activations=frozenset(("relu", "relu6", "silu", "gelu", "sigmoid", "tanh", "hardswish", "hardsigmoid")),
    refuses=refuses,
    options=options,
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    follows=True,
    devices=CPU_AND_CUDA,
)
