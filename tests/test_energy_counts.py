"""Counts of layers: by hand, by torch's own flop counter, and refusals."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import greenkernels as gk
from greenkernels.energy import Counts, count

F32 = 4  # bytes

# (layer, shape of the input, operations, bytes read, bytes written, bytes of weights), all worked out by hand.
BY_HAND = {
    "linear": (nn.Linear(3, 5), (2, 3), 2 * 2 * 15 + 10, F32 * (6 + 15 + 5), F32 * 10, F32 * 20),
    "conv1d": (nn.Conv1d(2, 4, 3), (1, 2, 10), 2 * 32 * 6 + 32, F32 * (20 + 24 + 4), F32 * 32, F32 * 28),
    # 4 x 4 outputs of stride 2 on 8 x 8 with padding 1; a filter has 2 * 9 weights in each of 2 groups.
    "conv2d": (
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False),
        (2, 4, 8, 8),
        2 * (2 * 6 * 16) * 18,
        F32 * (512 + 108),
        F32 * 192,
        F32 * 108,
    ),
    "conv3d": (nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3), 2 * 16 * 8 + 16, F32 * (27 + 16 + 2), F32 * 16, F32 * 18),
    # Each of 3 * 16 inputs meets 2 * 4 weights; the output is 2 x 8 x 8.
    "conv_transpose2d": (
        nn.ConvTranspose2d(3, 2, 2, stride=2),
        (1, 3, 4, 4),
        2 * 48 * 8 + 128,
        F32 * (48 + 24 + 2),
        F32 * 128,
        F32 * 26,
    ),
    "batch_norm": (
        nn.BatchNorm2d(3).eval(),
        (2, 3, 4, 4),
        2 * 96 + 5 * 3,
        F32 * (96 + 12),
        F32 * 96,
        F32 * 12,
    ),
    "layer_norm": (nn.LayerNorm(8), (2, 5, 8), 7 * 80 + 4 * 10, F32 * (80 + 16), F32 * 80, F32 * 16),
    "group_norm": (nn.GroupNorm(2, 4), (3, 4, 5), 7 * 60 + 4 * 6, F32 * (60 + 8), F32 * 60, F32 * 8),
    "relu": (nn.ReLU(), (2, 3), 6, F32 * 6, F32 * 6, 0),
    "gelu": (nn.GELU(), (4,), 20, F32 * 4, F32 * 4, 0),
    "softmax": (nn.Softmax(-1), (2, 4), 40, F32 * 8, F32 * 8, 0),
    "max_pool": (nn.MaxPool2d(3, 2), (1, 2, 7, 7), 8 * 18, F32 * 98, F32 * 18, 0),
    "avg_pool": (nn.AvgPool2d(2), (1, 2, 4, 4), 4 * 8, F32 * 32, F32 * 8, 0),
    # Windows of 5 into 3: [0, 2), [1, 4), [3, 5): 7 elements along each side.
    "adaptive_pool": (nn.AdaptiveAvgPool2d(3), (1, 2, 5, 5), 2 * 49, F32 * 50, F32 * 18, 0),
    "embedding": (nn.Embedding(10, 4), (3,), 0, 3 * 8 + F32 * 12, F32 * 12, F32 * 12),
    # A gate: 2 (3 + 5) for the products, 2 biases; 18 for a cell. Output, and the last h and c.
    "lstm": (
        nn.LSTM(3, 5),
        (7, 2, 3),
        14 * (20 * 18 + 5 * 18),
        F32 * (42 + 200),
        F32 * (70 + 20),
        F32 * 200,
    ),
    "gru": (nn.GRU(3, 5), (7, 2, 3), 14 * (15 * 18 + 5 * 15), F32 * (42 + 150), F32 * 80, F32 * 150),
    # 6 rows, 18 pairs: 4 projections and their biases, 2 products, scaling, 2 heads of softmax.
    "attention": (
        nn.MultiheadAttention(4, 2, batch_first=True),
        (2, 3, 4),
        4 * 2 * 6 * 16 + 4 * 24 + 2 * 2 * 18 * 4 + 24 + 5 * 18 * 2,
        F32 * (24 + 80),
        F32 * 24,
        F32 * 80,
    ),
    "upsample": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 1, 3, 3), 9 * 36, F32 * 9, F32 * 36, 0),
    "dropout": (nn.Dropout().eval(), (2, 3), 0, 0, 0, 0),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_equals_the_hand_count(case: str) -> None:
    layer, shape, flops, read, written, weights = BY_HAND[case]
    assert count(layer, shape) == (Counts(flops, read, written, weights), "")


# Other inputs than floats, other outputs than one tensor, or none of its own.
NOT_FROM_FLOATS = ("lstm", "gru", "attention", "embedding", "dropout")

# Without bias, since torch counts products only.
COUNTED_BY_TORCH = [
    (nn.Linear(33, 7, bias=False), (5, 2, 33)),
    (nn.Conv1d(4, 6, 5, padding=2, bias=False), (3, 4, 17)),
    (nn.Conv2d(6, 9, 3, stride=2, dilation=2, groups=3, bias=False), (2, 6, 15, 13)),
    (nn.Conv2d(3, 5, 3, padding="same", bias=False), (3, 9, 8)),
    (nn.Conv3d(2, 3, (1, 2, 3), padding=1, bias=False), (1, 2, 5, 6, 7)),
    (nn.ConvTranspose1d(4, 6, 5, stride=3, bias=False), (2, 4, 9)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2, bias=False), (2, 4, 9, 7)),
]


@pytest.mark.parametrize(("layer", "shape"), COUNTED_BY_TORCH)
def test_equals_the_flop_counter_of_torch(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with FlopCounterMode(display=False) as counter:
        out = layer(torch.randn(shape))
    counts = count(layer, shape).counts
    assert counts.flops == counter.get_total_flops()
    assert counts.bytes_written == out.numel() * F32


@pytest.mark.parametrize("case", [c for c in BY_HAND if c not in NOT_FROM_FLOATS])
def test_bytes_written_are_those_of_the_output(case: str) -> None:
    layer, shape, _, _, written, _ = BY_HAND[case]
    out = layer(torch.randn(shape))
    assert out.numel() * F32 == written


@pytest.mark.parametrize("layer", [nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, 3, ceil_mode=True)])
@pytest.mark.parametrize("size", range(4, 12))
def test_counts_the_windows_that_torch_has(layer: nn.Module, size: int) -> None:
    shape = (1, 2, size, size + 1)
    assert count(layer, shape).counts.bytes_written == layer(torch.randn(shape)).numel() * F32


def test_half_precision_halves_the_bytes() -> None:
    single, half = (count(nn.Linear(8, 4, dtype=d), (2, 8)).counts for d in (torch.float32, torch.bfloat16))
    assert (half.flops, half.bytes, half.dtype) == (single.flops, single.bytes // 2, "bfloat16")


def test_self_attention_reads_its_one_input_once() -> None:
    layer = nn.MultiheadAttention(8, 2)
    one, three = count(layer, (5, 3, 8)).counts, count(layer, *[(5, 3, 8)] * 3).counts
    assert one.flops == three.flops
    assert three.bytes_read - one.bytes_read == 2 * 5 * 3 * 8 * F32


class DoubledLinear(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (nn.Bilinear(2, 2, 3), (1, 2), "Bilinear: no counting rule"),
        (DoubledLinear(2, 3), (1, 2), "a subclass of Linear may compute something else"),
        (nn.Dropout(), (2, 3), "draws random numbers in training mode"),
        (nn.Conv2d(3, 4, 3), (1, 5, 8, 8), r"input must be \[batch, 3, 2 sizes\], got \[1, 5, 8, 8\]"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), (1, 1, 4, 4), "mode='bicubic'"),
        (nn.MaxPool2d(2, return_indices=True), (1, 1, 4, 4), "return_indices=True"),
        (nn.Conv2d(3, 4, 3), (1, 3, 2, 9), r"sizes \[2, 9\] is too small"),
        (nn.MaxPool2d(3), (1, 3, 2, 2), r"sizes \[2, 2\] is too small"),
        (nn.MultiheadAttention(4, 2, add_zero_attn=True), (3, 1, 4), "add_zero_attn"),
    ],
)
def test_what_is_unknown_is_none_and_says_why(layer: nn.Module, shape: tuple[int, ...], reason: str) -> None:
    counted = count(layer, shape)
    assert counted.counts is None
    assert re.search(reason, counted.reason), counted.reason


def test_counts_add_up() -> None:
    one = Counts(10, 8, 4, 2)
    assert one + one == one * 2 == Counts(20, 16, 8, 4)
    assert one.bytes == 12


def test_operations_in_different_types_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="cannot add operations in float32 and int8"):
        Counts(1, 0, 0, 0) + Counts(1, 0, 0, 0, "int8")


def test_bytes_alone_add_to_any_type() -> None:
    moved, computed = Counts(0, 8, 8, 0, "int64"), Counts(1, 4, 4, 0, "bfloat16")
    assert (moved + computed).dtype == (computed + moved).dtype == "bfloat16"


@pytest.mark.parametrize("numbers", [(-1, 0, 0, 0), (0, 4, 0, 8)])
def test_refuses_impossible_counts(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Counts: "):
        Counts(*numbers)


def test_needs_a_shape() -> None:
    with pytest.raises(ValueError, match="needs the shape of each input"):
        count(nn.ReLU())


def test_a_module_may_count_itself() -> None:
    class Counting(nn.Module):
        def counts(self, *shapes: tuple[int, ...]) -> Counts:
            return Counts(len(shapes), 0, 0, 0)

    assert gk.energy.count(Counting(), (1,), (2,)).counts.flops == 2
