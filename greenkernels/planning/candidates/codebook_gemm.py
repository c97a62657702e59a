"""codebook_gemm as a candidate for nn.Linear layers, where it is asked for by name and the bounds allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Size, nn

from ...nn import CodebookLinear
from ...ops.codebook_packing import group_count, packed_bytes
from . import KINDS, FusedActivation, Options, Stem, stand_in
from .int4_gemm import cold_start as few_rows

OPTIONS = tuple({"bits": bits, "group": 64} for bits in (4, 2))


def refuses(linear: nn.Module) -> str | None:
    try:
        CodebookLinear.check(linear)
    except (ValueError, TypeError, RuntimeError) as error:
        return str(error).splitlines()[0].removeprefix("CodebookLinear: ")
    return None


def build(linear: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return stand_in(CodebookLinear, linear, options, activation)


def extra_bytes(linear: nn.Module, options: Options) -> int:
    """Size of the packed weight. That of the stock weight is not taken off: the caller's network still holds it."""
    sizes = linear.out_features, linear.in_features, options["group"], options["bits"]
    return packed_bytes(*sizes) + 4 * linear.out_features


def scratch_bytes(linear: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/few_bits/gemm.h` leases: quantized rows, the starts of their groups, scales, zero points."""
    groups = group_count(linear.in_features, options["group"])
    return max((math.prod(s[:-1]) * (groups * (options["group"] + 4) + 8) for s in shapes), default=0)


def cold_start(linear: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """Where the weight is what takes the time."""
    found = few_rows(linear, shapes)
    return found if isinstance(found, str) else OPTIONS[0]


STEM = Stem(
    name="codebook_gemm",
    replaces=nn.Linear,
    lossy=True,
    activations=KINDS,
    refuses=refuses,
    options=lambda linear: list(OPTIONS),
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
)
