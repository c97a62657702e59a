"""csr_conv2d as a candidate for pruned nn.Conv2d layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, nn

from ...nn import SparseConv2d
from ...ops.csr_conv2d_op import CONV_BATCH
from ...ops.csr_packing import layout, packed_bytes
from . import FusedActivation, Options, Stem, refusal
from .csr_matmul import MIN_ZEROS, zeros_of


def refuses(conv: nn.Module) -> str | None:
    zeros = zeros_of(conv)
    if zeros < MIN_ZEROS:
        return f"{zeros:.0%} of its weights are zero, too few for a sparse product (rule: {MIN_ZEROS:.0%})"
    return refusal(SparseConv2d, conv)


def build(conv: nn.Module, options: Options, activation: FusedActivation | None) -> nn.Module:
    return SparseConv2d.from_module(conv)


def extra_bytes(conv: nn.Module, options: Options) -> int:
    """The packed filter; values and indices of the layer itself replace the dense filter."""
    nnz = int(conv.weight.detach().count_nonzero())
    return packed_bytes(conv.out_channels, conv.weight[0].numel(), nnz, CONV_BATCH, 4)


def scratch_bytes(conv: nn.Module, options: Options, shapes: Sequence[Size]) -> int:
    """What `csrc/cpu/csr_conv2d.cpp` leases: a block of a strip of 64 pixels and its product for each thread."""
    nnz = int(conv.weight.detach().count_nonzero())
    chosen = layout(conv.out_channels, conv.weight[0].numel(), nnz, CONV_BATCH)
    product = -(-conv.out_channels // chosen.row_tile) * chosen.row_tile
    return torch.get_num_threads() * (chosen.k_block + product) * 64 * 4


def cold_start(conv: nn.Module, shapes: Sequence[Size]) -> Options | str:
    """The stock layer stays: Winograd's method makes dense convolutions cheap too."""
    return "sparse against dense convolution: only a measurement can tell which is faster"


STEM = Stem(
    name="csr_conv2d",
    replaces=nn.Conv2d,
    lossy=False,
    activations=frozenset(),
    refuses=refuses,
    options=lambda conv: [{}],
    build=build,
    extra_bytes=extra_bytes,
    cold_start=cold_start,
    scratch_bytes=scratch_bytes,
)
