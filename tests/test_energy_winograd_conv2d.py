"""Counts of winograd_conv2d against a walk over its tiles, with operations read off the kernel's own source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from greenkernels import _build
from greenkernels.energy import count
from greenkernels.energy.kernels.winograd_conv2d import INPUT_1D, OUTPUT_1D
from greenkernels.energy.tally import CountOperations, Tally
from greenkernels.nn import WinogradConv2d

SOURCE = Path(__file__).resolve().parent.parent / "csrc/cpu/winograd_conv2d/transforms.inl"
F32 = 4  # bytes
TILES = (2, 4, 6)

pytestmark = pytest.mark.skipif(not SOURCE.exists(), reason="needs a checkout")


def operations_in(expression: str) -> int:
    """Vector operations of one expression: a multiply-add is two, ``times`` and each + or - between vectors one."""
    total = 2 * len(re.findall(r"\b(?:plus|minus)_times\(", expression))
    total += len(re.findall(r"\btimes\(", expression))
    vectors = r"(?:[dp]\[\d\]|\w+_[abc]|\))"
    return total + len(re.findall(rf"{vectors} [+-] (?=\(|[dp]\[|\w+_[abc])", expression))


def operations_of(struct: str, m: int) -> int:
    """Operations of all groups of rows together; a call of ``pair`` costs what its body does."""
    text = SOURCE.read_text()
    body = text.partition(f"struct {struct}<{m}> {{")[2].partition("\n};")[0]
    rows, _, pair = body.partition("private:")
    lines = [line for line in rows.splitlines() if "GK_INLINE" not in line and "constexpr" not in line]
    statements = re.sub(r"\s+", " ", " ".join(lines))
    in_pair = operations_in(re.sub(r"\s+", " ", pair.partition("{")[2]))
    return operations_in(statements) + statements.count("pair(d,") * in_pair


def expected_flops(batch: int, in_c: int, out_c: int, out_h: int, out_w: int, m: int) -> int:
    alpha, padded_in, padded_out = m + 2, -(-in_c // 16) * 16, -(-out_c // 16) * 16
    rows_of_bt, rows_of_at = operations_of("InputTransform", m), operations_of("OutputTransform", m)
    total = 0
    for _image in range(batch):
        for _y in range(0, out_h, m):
            for _x in range(0, out_w, m):  # B^T d by columns, then by rows; A^T P by columns, then by rows
                total += padded_in * (alpha * rows_of_bt + alpha * rows_of_bt)
                total += sum(2 * in_c * padded_out for _tap in range(alpha * alpha))
                total += padded_out * (alpha * rows_of_at + m * rows_of_at + m * m)
    return total


@pytest.mark.parametrize("m", TILES)
def test_the_source_has_the_operations_that_the_rule_says(m: int) -> None:
    assert operations_of("InputTransform", m) == INPUT_1D[m]
    assert operations_of("OutputTransform", m) == OUTPUT_1D[m]


# (batch, in_c, out_c, h, w, padding): whole tiles, ragged tiles and channels, less than a tile
SHAPES = [(1, 16, 16, 12, 12, 1), (2, 3, 37, 13, 7, 1), (1, 17, 16, 14, 14, 0), (1, 64, 64, 7, 7, 1)]


@pytest.mark.parametrize("m", TILES)
@pytest.mark.parametrize(("batch", "in_c", "out_c", "h", "w", "padding"), SHAPES)
def test_equals_a_walk_over_the_tiles(
    batch: int, in_c: int, out_c: int, h: int, w: int, padding: int, m: int
) -> None:
    module = WinogradConv2d(in_c, out_c, padding=padding, tile=m)
    out_h, out_w = h + 2 * padding - 2, w + 2 * padding - 2
    counts = count(module, (batch, in_c, h, w)).counts
    assert counts.flops == expected_flops(batch, in_c, out_c, out_h, out_w, m)
    packed = (m + 2) ** 2 * in_c * (-(-out_c // 16) * 16)
    assert counts.weight_bytes == F32 * (packed + out_c)
    assert counts.bytes_read == counts.weight_bytes + F32 * batch * in_c * h * w
    assert counts.bytes_written == F32 * batch * out_c * out_h * out_w


def test_packed_bytes_are_those_of_the_module() -> None:
    if not _build.ensure_loaded():
        pytest.skip("no compiled kernels")
    module = WinogradConv2d(5, 19, bias=False).eval()
    assert count(module, (1, 5, 8, 8)).counts.weight_bytes == module.packed.numel() * F32


def test_whole_tiles_need_fewer_operations_than_the_direct_convolution() -> None:
    stock = nn.Conv2d(64, 64, 3, padding=1)
    direct = count(stock, (1, 64, 24, 24)).counts.flops
    ours = [count(WinogradConv2d.from_module(stock, tile=m), (1, 64, 24, 24)).counts.flops for m in TILES]
    assert direct > ours[0] > ours[1] > ours[2]


def test_waste_at_the_edge_is_counted() -> None:
    module = WinogradConv2d(16, 16, padding=1, tile=6)
    flops = {size: count(module, (1, 16, size, size)).counts.flops for size in (6, 7, 12)}
    assert flops[12] == flops[7] == 4 * flops[6]


def test_skip_and_activation_cost_what_they_do_on_each_output() -> None:
    plain, fused = (WinogradConv2d(16, 16, padding=1, activation=a) for a in (None, "silu"))
    shape, outputs = (1, 16, 8, 8), 16 * 64
    assert count(fused, shape).counts.flops - count(plain, shape).counts.flops == 5 * outputs
    with_skip = count(plain, shape, shape).counts
    assert with_skip.flops - count(plain, shape).counts.flops == 2 * outputs
    assert with_skip.bytes_read - count(plain, shape).counts.bytes_read == outputs * F32


def test_no_output_is_no_operation() -> None:
    assert count(WinogradConv2d(16, 16), (0, 16, 8, 8)).counts.flops == 0


def test_padding_with_copies_makes_the_map_larger_but_not_the_input() -> None:
    zeros, circular = (WinogradConv2d(16, 16, padding=1, padding_mode=mode) for mode in ("zeros", "circular"))
    assert count(zeros, (1, 16, 8, 8)) == count(circular, (1, 16, 8, 8))


def test_an_input_it_does_not_take_is_none_with_the_reason() -> None:
    counted = count(WinogradConv2d(16, 16), (1, 8, 8, 8))
    assert counted.counts is None
    assert "input must be [batch, 16, h, w]" in counted.reason
    assert (
        count(WinogradConv2d(16, 16), (1, 16, 1, 1)).counts is None
    )  # two sizes of -1 would make one output


@pytest.mark.parametrize("activation", [None, "relu"])
def test_the_operation_counts_as_the_module_does(activation: str | None) -> None:
    if not _build.ensure_loaded():
        pytest.skip("no compiled kernels")
    module = WinogradConv2d(8, 24, padding=1, activation=activation).eval()
    x, tally = torch.randn(2, 8, 9, 9), Tally()
    with torch.no_grad():
        module(x)  # packs its weight
        with CountOperations(tally.add, [module.packed, module.bias]):
            module(x)
    assert tally.total == count(module, x.shape).counts
