"""codebook_gemm: values against float64 with exact integers below, on every instruction set; the packed form."""

import numpy as np
import pytest
import torch
from int8_cases import (
    EPS,
    float_rows,
    int8_isa,  # noqa: F401  a fixture
    numpy_quantized,
    numpy_quantizer,
)
from torch import Tensor

import greenkernels as gk
from greenkernels.nn.codebook_weights import find_codebook, from_bytes, quantize_codebook, to_bytes, to_table
from greenkernels.ops import codebook_packing

# (m, n, k, group): smallest, ragged, around rows of the micro-kernel, panel, word and group, nothing at all
SHAPES = [
    *[(1, 1, 1, 32), (1, 32, 64, 64), (3, 5, 0, 64), (0, 4, 8, 32), (4, 0, 8, 128)],
    *[(6, 33, 70, 32), (7, 31, 129, 128), (5, 65, 127, 64), (13, 97, 61, 32), (2, 640, 1025, 1024)],
]
BITS = [2, 4]
pytestmark = pytest.mark.usefixtures("int8_isa")


def weights(n: int, k: int, group: int, bits: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Places that are equally likely, a table from end to end, and scales of different size."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(-64, 64, (1 << bits,), generator=generator).to(torch.int8)
    table[:2] = torch.tensor([-64, 63])
    scale = torch.rand(n, codebook_packing.group_count(k, group), generator=generator) + 0.01
    return torch.randint(0, 1 << bits, (n, k), generator=generator).to(torch.uint8), table, scale


def exact(x: Tensor, b: Tensor, table: Tensor, scale: Tensor, group: int) -> tuple[np.ndarray, np.ndarray]:
    """The product in float64, and the size of what the kernel adds up: values and zero point 128 lower."""
    row_scale, zero = numpy_quantizer(x.numpy())
    q = numpy_quantized(x.numpy(), row_scale, zero)
    steps = scale.bfloat16().double().repeat_interleave(group, 1)[:, : b.shape[1]].numpy()
    w, rows = steps * table[b.long()].numpy(), row_scale.astype(np.float64)[:, None]
    product = (q - zero.astype(np.int64)[:, None]) @ w.T
    size = np.abs(q - 128) @ np.abs(w).T + np.abs(zero - 128)[:, None] * np.abs(w).sum(1)
    return product * rows, size * rows


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values(shape, bits):
    m, n, k, group = shape
    x, weight, bias = float_rows(m, k), weights(n, k, group, bits), torch.randn(n)
    expected, size = exact(x, *weight, group)
    for shift in (None, bias):
        out = gk.ops.codebook_gemm(x, *weight, group=group, bias=shift)
        plus = 0 if shift is None else shift.double().numpy()
        # Rounded: sums of rows and of groups, once a group each; the zero point, the scale of the row, the bias.
        roundings = 2 * weight[2].shape[1] + 4
        error = np.abs(out.double().numpy() - (expected + plus))
        assert out.shape == (m, n)
        assert (error <= roundings * EPS / 2 * (size + np.abs(plus))).all()


@pytest.mark.parametrize("entry", [-64, 63])
@pytest.mark.parametrize("group", codebook_packing.GROUPS)
def test_the_largest_sums_do_not_saturate(entry, group):
    """Entries and rows at the ends of their ranges: 16 bits hold two products of a pair, no more."""
    k = 2 * group
    b, scale = torch.full((3, k), 1, dtype=torch.uint8), torch.ones(3, 2)
    table = torch.tensor([0, entry, 0, 0], dtype=torch.int8)
    for value in (255.0, -255.0):
        x = torch.full((2, k), value)
        assert (gk.ops.codebook_gemm(x, b, table, scale, group=group) == value * entry * k).all()


def test_activations_bad_rows_and_half_precision():
    x, weight = float_rows(9, 70), weights(37, 70, 32, 4)
    before = gk.ops.codebook_gemm(x, *weight, group=32)
    out = gk.ops.codebook_gemm(x, *weight, group=32, activation="leaky_relu", activation_param=0.2)
    expected = torch.where(before > 0, before, before * 0.2)
    assert ((out - expected).abs() <= 4 * EPS * before.abs()).all()
    half = x.half()
    assert torch.equal(
        gk.ops.codebook_gemm(half, *weight, group=32),
        gk.ops.codebook_gemm(half.float(), *weight, group=32).half(),
    )
    x[3, 69] = float("nan")
    bad = gk.ops.codebook_gemm(x, *weight, group=32).isnan()
    assert bad.any(1).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("bits", BITS)
def test_packing_is_one_layout_and_comes_back(bits):
    for m, n, k, group in SHAPES:
        x, weight = float_rows(m, k), weights(n, k, group, bits)
        packed = gk.ops.codebook_gemm_pack(*weight, group=group)
        assert torch.equal(packed, codebook_packing.pack(*weight, group))
        b, table, scale = gk.ops.codebook_gemm_unpack(packed, n, k, group=group, bits=bits)
        assert torch.equal(b, weight[0])
        assert torch.equal(table, weight[1])
        assert torch.equal(scale, weight[2].bfloat16().float())
        plain = gk.ops.codebook_gemm(x, *weight, group=group)
        assert torch.equal(gk.ops.codebook_gemm_packed(x, packed, n=n, group=group, bits=bits), plain)
        moved = torch.cat((packed.new_zeros(1), packed))[1:]  # not aligned
        assert torch.equal(gk.ops.codebook_gemm_packed(x, moved, n=n, group=group, bits=bits), plain)


def test_4_bit_integers_are_a_codebook():
    """The same sums as those of int4_gemm: both kernels add up the same products in the same order."""
    x, values, scale = float_rows(7, 130), torch.randint(-8, 8, (33, 130)).to(torch.int8), torch.rand(33, 3)
    table = torch.arange(-8, 8, dtype=torch.int8)
    found = gk.ops.codebook_gemm(x, (values + 8).to(torch.uint8), table, scale)
    assert torch.equal(found, gk.ops.int4_gemm(x, values, scale))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(threads):
    before, weight = torch.get_num_threads(), weights(1500, 320, 64, 4)
    inputs = [float_rows(m, 320) for m in (1, 40)]
    expected = [gk.ops.codebook_gemm(x, *weight) for x in inputs]
    try:
        torch.set_num_threads(threads)
        for x, out in zip(inputs, expected, strict=True):
            assert torch.equal(gk.ops.codebook_gemm(x, *weight), out)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("k", [0, 1, 7, 64])
def test_bytes_come_back(k, bits):
    places = torch.randint(0, 1 << bits, (3, k)).to(torch.uint8)
    packed = to_bytes(places, bits)
    assert packed.shape == (3, -(-k * bits // 8))
    assert torch.equal(from_bytes(packed, bits, k), places)


def test_a_codebook_of_few_values_is_those_values():
    values = torch.tensor([-2.0, -0.5, 0.25, 3.0])
    found = find_codebook(values[torch.randint(0, 4, (1000,))], 4)
    assert torch.allclose(found, values)
    with_zero = find_codebook(torch.cat((values, torch.zeros(50))), 4, holds_zero=True)
    assert (with_zero == 0).sum() == 1


def test_powers_of_two_are_exact_in_the_table():
    codebook = 0.3 * torch.tensor([-1.0, -0.25, 0.0, 0.03125, 0.5])
    table, unit = to_table(codebook)
    assert table.tolist() == [-32, -8, 0, 1, 16]
    assert torch.allclose(table * unit, codebook, rtol=2 * EPS)


@pytest.mark.parametrize("bits", BITS)
def test_a_quantized_weight_is_the_nearest_that_the_table_has(bits):
    w = torch.randn(5, 130)
    places, table, scale = quantize_codebook(w, bits, 64)
    steps = scale.repeat_interleave(64, 1)[:, :130]
    every = table.float() * steps[..., None]
    least = (every - w[..., None]).abs().amin(2)
    found = (table.float()[places.long()] * steps - w).abs()
    assert (found <= least + 2 * EPS * w.abs()).all()
