"""Counts of depthwise_conv2d against a count of what its kernel multiplies."""

from __future__ import annotations

import pytest
import torch
from conv_cases import needs_kernels
from torch import nn

from greenkernels.energy import count
from greenkernels.energy.tally import CountOperations, Tally
from greenkernels.nn import DepthwiseConv2d

CONVS = [
    nn.Conv2d(5, 5, 3, padding=1, bias=False, groups=5),
    nn.Conv2d(40, 40, (1, 5), stride=(2, 1), groups=40),
    nn.Conv2d(4, 4, 4, padding="same", dilation=2, padding_mode="reflect", groups=4),
    nn.Conv2d(3, 3, 3, dtype=torch.float64, groups=3),
]


def expected(conv: nn.Conv2d, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Operations, bytes read, bytes written, weight bytes: every tap once an output."""
    with torch.no_grad():
        out = conv(torch.zeros(shape, dtype=conv.weight.dtype))
    size, taps = conv.weight.element_size(), conv.weight[0].numel()
    packed = -(-conv.out_channels // 16) * 16 * taps
    weights = packed * size + (0 if conv.bias is None else conv.bias.numel() * size)
    read = torch.zeros(shape).numel() * size + weights
    return 2 * out.numel() * taps, read, out.numel() * size, weights


@pytest.mark.parametrize("conv", CONVS)
def test_counts_of_the_module(conv: nn.Conv2d) -> None:
    module = DepthwiseConv2d.from_module(conv.eval())
    shape = (2, conv.in_channels, 12, 13)
    counts = count(module, shape).counts
    assert (counts.flops, counts.bytes_read, counts.bytes_written, counts.weight_bytes) == expected(
        conv, shape
    )
    assert counts.dtype == ("float64" if conv.weight.dtype == torch.float64 else "float32")


def test_activation_and_skip_add_to_each_output() -> None:
    stock = nn.Conv2d(16, 16, 3, groups=16)
    plain = count(DepthwiseConv2d.from_module(stock), (1, 16, 10, 10)).counts
    relu = DepthwiseConv2d.from_module(stock, activation="relu")
    fused = count(relu, (1, 16, 10, 10), (1, 16, 8, 8)).counts
    outputs = 16 * 8 * 8
    assert fused.flops - plain.flops == 3 * outputs
    assert fused.bytes_read - plain.bytes_read == 4 * outputs


def test_an_input_it_does_not_take_is_none_with_the_reason() -> None:
    module = DepthwiseConv2d(16, 16, 3, groups=16)
    counted = count(module, (1, 8, 8, 8))
    assert counted.counts is None
    assert "input must be [batch, 16, h, w]" in counted.reason
    assert count(module, (1, 16, 2, 2)).counts is None


@needs_kernels
@pytest.mark.parametrize("activation", [None, "relu"])
def test_the_operation_counts_as_the_module_does(activation: str | None) -> None:
    stock = nn.Conv2d(40, 40, 3, stride=2, groups=40).eval()
    module = DepthwiseConv2d.from_module(stock, activation=activation)
    x, tally = torch.randn(1, 40, 11, 12), Tally()
    with torch.no_grad():
        module(x)  # packs its weight
        with CountOperations(tally.add, [module.packed, module.bias]):
            module(x)
    assert tally.total == count(module, x.shape).counts
