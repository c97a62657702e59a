"""Operations of this package's own layers, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from greenkernels.energy import count
from greenkernels.nn import (
    DirectConv2d,
    FoldedConv2d,
    Int8Linear,
    SparseConv2d,
    SparseLinear,
    StrassenLinear,
    WinogradConv2d,
)


def pruned(layer: nn.Module, nonzeros: int) -> nn.Module:
    """With that many ones in its weight, and zeros."""
    with torch.no_grad():
        layer.weight.zero_().view(-1)[:nonzeros] = 1
    return layer


def strassen(levels: int, m: int, n: int, k: int) -> StrassenLinear:
    return StrassenLinear.from_module(nn.Linear(k, n), levels=levels)


# Vectors of 16: channels, columns and pixels are rounded up to it.
BY_HAND = {
    # 8 x 8 are 4 tiles of 4 x 4, 6 x 6 of input each: B^T d B is 12 rows of 24 operations a channel, 36 products a
    # pair of channels, A^T p A 10 rows of 16, and the bias on 16 outputs.
    "winograd": (
        WinogradConv2d(16, 16, padding=1, tile=4),
        (1, 16, 8, 8),
        4 * (16 * 12 * 24 + 2 * 36 * 16 * 16 + 16 * (10 * 16 + 16)),
    ),
    # 4 x 4 outputs of depth 27, 20 channels computed as 32; sums start from the bias.
    "direct": (DirectConv2d(3, 20, 3, stride=2, padding=1), (1, 3, 8, 8), 16 * 2 * 27 * 32),
    # 4 x 4 outputs of depth 27 in 20 channels, and the bias that folding makes.
    "folded": (
        FoldedConv2d(3, 20, 3, stride=2, padding=1, bias=False).eval().follow(nn.BatchNorm2d(20).eval()),
        (1, 3, 8, 8),
        16 * 20 * (2 * 27 + 1),
    ),
    "gemm": (strassen(0, 5, 20, 7), (5, 7), 2 * 5 * 32 * 7),
    # Blocks of 2 x 16 x 4: seven products, 5 sums of blocks of the input, 8 results that are added to an output.
    "strassen": (strassen(1, 4, 32, 8), (4, 8), 7 * 2 * 2 * 16 * 4 + 5 * 2 * 4 + 8 * 2 * 2 * 16),
    # 20 columns computed as 32.
    "int8": (Int8Linear.from_module(nn.Linear(10, 20)), (3, 10), 2 * 3 * 32 * 10),
    # 20 rows computed as 32 for each of 5 nonzeros, and a bias on 20 x 4 outputs.
    "csr": (SparseLinear.from_module(pruned(nn.Linear(6, 4), 5), warn=False), (20, 6), 2 * 5 * 32 + 20 * 4),
    "csr of few rows": (
        SparseLinear.from_module(pruned(nn.Linear(6, 4), 5), warn=False),
        (2, 6),
        2 * 5 * 2 + 2 * 4,
    ),
    # 25 pixels computed as 32 for each of 6 nonzeros, and a bias on 4 x 25 outputs.
    "csr convolution": (
        SparseConv2d.from_module(pruned(nn.Conv2d(2, 4, 3, padding=1), 6)),
        (1, 2, 5, 5),
        2 * 6 * 32 + 4 * 25,
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_equals_the_hand_count(case: str) -> None:
    layer, shape, flops = BY_HAND[case]
    found = count(layer, shape)
    assert found.reason == ""
    assert found.counts.flops == flops


def test_winograd_needs_fewer_and_int8_cheaper_operations() -> None:
    shape = (1, 64, 56, 56)
    stock, ours = nn.Conv2d(64, 64, 3, padding=1), WinogradConv2d(64, 64, padding=1, tile=4)
    assert count(ours, shape).counts.flops < 0.5 * count(stock, shape).counts.flops
    assert count(Int8Linear.from_module(nn.Linear(10, 32)), (3, 10)).counts.dtype == "int8"
