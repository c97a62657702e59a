"""int4_gemm: values against float64 with exact integers below, on every instruction set; the packed form."""

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
from greenkernels.nn.int4_weights import from_nibbles, quantize_groups, to_nibbles
from greenkernels.ops import int4_packing

# (m, n, k, group): smallest, ragged, around rows of the micro-kernel, panel, octet and group, nothing at all
SHAPES = [
    *[(1, 1, 1, 32), (1, 32, 64, 64), (3, 5, 0, 64), (0, 4, 8, 32), (4, 0, 8, 128)],
    *[(6, 33, 70, 32), (7, 31, 129, 128), (5, 65, 127, 64), (13, 97, 61, 32), (2, 640, 1025, 64)],
]
pytestmark = pytest.mark.usefixtures("int8_isa")


def weights(n: int, k: int, group: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Every value of 4 bits equally likely, and scales of different size."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, int4_packing.group_count(k, group), generator=generator) + 0.01
    return torch.randint(-8, 8, (n, k), generator=generator).to(torch.int8), scale


def exact(x: Tensor, b: Tensor, scale: Tensor, group: int) -> tuple[np.ndarray, np.ndarray]:
    """The product in float64, and the size of what the kernel adds up: values and zero point 128 lower."""
    row_scale, zero = numpy_quantizer(x.numpy())
    q = numpy_quantized(x.numpy(), row_scale, zero)
    steps = scale.bfloat16().double().repeat_interleave(group, 1)[:, : b.shape[1]].numpy()
    w, rows = steps * b.numpy(), row_scale.astype(np.float64)[:, None]
    product = (q - zero.astype(np.int64)[:, None]) @ w.T
    size = np.abs(q - 128) @ np.abs(w).T + np.abs(zero - 128)[:, None] * np.abs(w).sum(1)
    return product * rows, size * rows


@pytest.mark.parametrize("shape", SHAPES)
def test_values(shape):
    m, n, k, group = shape
    x, (b, scale), bias = float_rows(m, k), weights(n, k, group), torch.randn(n)
    expected, size = exact(x, b, scale, group)
    for shift in (None, bias):
        out = gk.ops.int4_gemm(x, b, scale, group=group, bias=shift)
        plus = 0 if shift is None else shift.double().numpy()
        # Rounded: sums of rows and of groups, once a group each; the zero point, the scale of the row, the bias.
        roundings = 2 * scale.shape[1] + 4
        error = np.abs(out.double().numpy() - (expected + plus))
        assert out.shape == (m, n)
        assert (error <= roundings * EPS / 2 * (size + np.abs(plus))).all()


@pytest.mark.parametrize("value", [-8, 7])
@pytest.mark.parametrize("group", int4_packing.GROUPS)
def test_the_largest_sums_do_not_saturate(value, group):
    """Values and rows at the ends of their ranges: 16 bits hold two products of a pair, no more."""
    k = 4 * group
    b, scale = torch.full((3, k), value, dtype=torch.int8), torch.ones(3, 4)
    for low, high in ((0.0, 255.0), (-255.0, 0.0)):
        x = torch.full((2, k), high if high else low)
        assert (gk.ops.int4_gemm(x, b, scale, group=group) == float(x[0, 0]) * value * k).all()
    x = torch.full((1, k), 255.0)
    x[:, ::2] = 0.0
    assert (gk.ops.int4_gemm(x, b, scale, group=group) == 255.0 * value * k / 2).all()


@pytest.mark.parametrize("name", ["relu", "gelu", "leaky_relu", "prelu"])
def test_activations(name):
    x, (b, scale) = float_rows(9, 70), weights(37, 70, 32)
    before = gk.ops.int4_gemm(x, b, scale, group=32)
    slope = {"leaky_relu": 0.2, "prelu": torch.rand(37)}.get(name)
    out = gk.ops.int4_gemm(x, b, scale, group=32, activation=name, activation_param=slope)
    if slope is None:
        expected = getattr(torch.nn.functional, name)(before)
    else:
        expected = torch.where(before > 0, before, before * slope)
    # erf is good to 2e-7 (csrc/cpu/activation.inl), and so is torch's; it is multiplied by the value.
    assert ((out - expected).abs() <= (4e-7 + 4 * EPS) * before.abs().clamp_min(1)).all()


def test_a_bad_row_comes_out_as_nan_and_no_other_does():
    x, (b, scale) = float_rows(9, 70), weights(33, 70, 64)
    x[3, 69], x[7, 0] = float("nan"), -float("inf")
    bad = gk.ops.int4_gemm(x, b, scale).isnan()
    assert bad.all(1).nonzero().flatten().tolist() == [3, 7]
    assert bad.any(1).nonzero().flatten().tolist() == [3, 7]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x, (b, scale) = torch.randn(9, 70).to(dtype), weights(20, 70, 64)
    out = gk.ops.int4_gemm(x, b, scale / 100)
    assert out.dtype == dtype
    assert torch.equal(out, gk.ops.int4_gemm(x.float(), b, scale / 100).to(dtype))


def test_packing_is_one_layout_and_comes_back():
    for _, n, k, group in SHAPES:
        b, scale = weights(n, k, group)
        packed = gk.ops.int4_gemm_pack(b, scale, group=group)
        assert torch.equal(packed, int4_packing.pack(b, scale, group))
        values, scales = gk.ops.int4_gemm_unpack(packed, n, k, group=group)
        assert torch.equal(values, b)
        assert torch.equal(scales, scale.bfloat16().float())


def test_packed_gives_the_same_and_reads_any_layout():
    for m, n, k, group in SHAPES:
        x, (b, scale) = float_rows(m, k), weights(n, k, group)
        packed = gk.ops.int4_gemm_pack(b, scale, group=group)
        plain = gk.ops.int4_gemm(x, b, scale, group=group)
        assert torch.equal(gk.ops.int4_gemm_packed(x, packed, n=n, group=group), plain)
        moved = torch.cat((packed.new_zeros(1), packed))[1:]  # not aligned
        assert torch.equal(gk.ops.int4_gemm_packed(x, moved, n=n, group=group), plain)
    x, (b, scale) = torch.randn(3, 60, 5).transpose(1, 2), weights(24, 60, 32)
    wide = gk.ops.int4_gemm(x, b.t().contiguous().t(), scale.t().contiguous().t(), group=32)
    assert torch.equal(wide, gk.ops.int4_gemm(x.reshape(15, 60), b, scale, group=32).reshape(3, 5, 24))
    assert torch.equal(gk.ops.int4_gemm(x[0, 0], b, scale, group=32), wide[0, 0])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    before, (b, scale) = torch.get_num_threads(), weights(1500, 320, 64)
    inputs = [float_rows(m, 320) for m in (1, 40)]
    expected = [gk.ops.int4_gemm(x, b, scale) for x in inputs]
    try:
        torch.set_num_threads(threads)
        for x, out in zip(inputs, expected, strict=True):
            assert torch.equal(gk.ops.int4_gemm(x, b, scale), out)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("group", int4_packing.GROUPS)
def test_groups_are_quantized_within_half_a_step(group):
    w = torch.randn(5, 130) * torch.logspace(-3, 3, 130)
    w[2] = 0
    values, scale = quantize_groups(w, group)
    assert torch.equal(scale, scale.bfloat16().float())
    steps = scale.repeat_interleave(group, 1)[:, :130]
    error, cut = (values * steps - w).abs(), (values == -8) | (values == 7)
    assert (error[~cut] <= steps[~cut] * (0.5 + 16 * EPS)).all()  # the division may round to the other side
    # No group is worse than with the step of its largest value.
    widest = torch.nn.functional.pad(w, (0, -130 % group)).reshape(5, -1, group)
    step = (torch.maximum(widest.amax(2) / 7, widest.amin(2) / -8)).bfloat16().float().clamp_min(2.0**-126)
    tried = (torch.round(widest / step[..., None]).clamp(-8, 7) * step[..., None] - widest).square().sum(2)
    padded = torch.nn.functional.pad(error, (0, -130 % group)).reshape(5, -1, group).square().sum(2)
    assert (padded <= tried * (1 + 1e-5)).all()


@pytest.mark.parametrize("k", [0, 1, 7, 64])
def test_nibbles_come_back(k):
    values = torch.randint(-8, 8, (3, k)).to(torch.int8)
    nibbles = to_nibbles(values)
    assert nibbles.shape == (3, (k + 1) // 2)
    assert torch.equal(from_nibbles(nibbles, k), values)
