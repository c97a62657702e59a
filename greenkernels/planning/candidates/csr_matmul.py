"""csr_matmul as a candidate for pruned nn.Linear layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn import SparseLinear
from ...ops.csr_packing import layout, layout_batch, packed_bytes
from . import CPU_AND_CUDA, FusedActivation, Options, Stem, refusal

# A sparse product runs at 76 % of the peak at most, for its loads, a dense one at about 95 %: below a fifth of zeros it
# cannot win, and strips and tiles cost some more. From 90 % on it took less than a third of the time of torch's dense
# product, n = k = 2048, for 1 to 256 rows of x (docs/csr_matmul.md).
MIN_ZEROS, RULE_ZEROS = 0.3, 0.9
MAX_STRIP = 64  # rows of x in a strip of the kernel


def zeros_of(linear: nn.Module) -> float:
    weight = linear.weight.detach()
    return 1 - int(weight.count_nonzero()) / max(1, weight.numel())


def refuses(linear: nn.Module) -> str | None:
    zeros = zeros_of(linear)
    if zeros < MIN_ZEROS:
        return f"{zeros:.0%} of its weights are zero, too few for a sparse product (rule: {MIN_ZEROS:.0%})"
    return refusal(SparseLinear, linear, warn=False)


def build(linear: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return SparseLinear.from_module(linear, warn=False)


def _sizes(linear: nn.Module) -> tuple[int, int, int, int]:
    """Outputs, inputs, nonzeros, bytes of an element that is computed with."""
    n, k = linear.weight.shape
    return n, k, int(linear.weight.detach().count_nonzero()), 8 if linear.weight.dtype == torch.float64 else 4


def extra_bytes(linear: nn.Module, options: Options) -> int:
    """The packed weight for large batches; values and indices of the layer itself replace the dense weight."""
    n, k, nnz, element = _sizes(linear)
    return packed_bytes(n, k, nnz, MAX_STRIP, element)


def scratch_bytes(linear: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/csr_matmul/forward.cpp` leases at most: a strip of x and a tile of the product for each thread."""
    n, k, nnz, element = _sizes(linear)
    most = 0
    for shape in shapes:
        rows = math.prod(shape[:-1])
        tile = layout(n, k, nnz, layout_batch(rows, k)).row_tile
        most = max(most, (k + tile) * min(MAX_STRIP, -(-rows // 16) * 16) * element)
    return torch.get_num_threads() * most


def cold_start(linear: nn.Module, shapes: Sequence[Size]) -> Options | str:
    zeros = zeros_of(linear)
    if zeros < RULE_ZEROS:
        return (
            f"{zeros:.0%} of its weights are zero; whether that is enough only a measurement can tell "
            f"(rule: {RULE_ZEROS:.0%})"
        )
    return {}


STEM = Stem(
    name="csr_matmul",
    replaces=nn.Linear,
    lossy=False,
    activations=frozenset(),
    refuses=refuses,
    options=lambda linear: [{}],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
    devices=CPU_AND_CUDA,
)
