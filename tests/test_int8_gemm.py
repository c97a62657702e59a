"""int8_gemm: sums bit by bit against numpy in int64, the float side against float64, on every instruction set."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from int8_cases import (
    EPS,
    extremes,
    float_rows,
    int8_isa,  # noqa: F401  a fixture
    integers,
    numpy_quantized,
    numpy_quantizer,
    numpy_sums,
)

import greenkernels as gk
from greenkernels.ops import int8_packing

# (m, n, k): smallest, ragged, around rows of the micro-kernel, panel, chunk and slice, nothing at all
SHAPES = [
    *[(1, 1, 1), (1, 32, 64), (3, 5, 0), (0, 4, 8), (4, 0, 8)],
    *[(17, 33, 70), (14, 32, 64), (15, 31, 3), (13, 65, 127), (6, 16, 4), (29, 97, 61)],
    *[(1, 100, 257), (2, 640, 1025), (112, 40, 1024), (131, 70, 1030)],
]
pytestmark = pytest.mark.usefixtures("int8_isa")


@pytest.mark.parametrize("values", [integers, extremes])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
def test_sums_are_exact(dtype, values):
    for m, n, k in SHAPES:
        a, b = values((m, k), dtype, 1), values((n, k), torch.int8, 2)
        info = torch.iinfo(dtype)
        one = torch.tensor([info.min + 3], dtype=torch.int32)
        each = torch.randint(info.min, info.max + 1, (m,), dtype=torch.int32)
        for zero in (None, one, each):
            got = gk.ops.int8_gemm(a, b, a_zero_point=zero)
            assert got.dtype == torch.int32
            np.testing.assert_array_equal(got.numpy(), numpy_sums(a, b, zero), f"{m, n, k, zero is each}")


@pytest.mark.parametrize(("low", "high"), [(0, -128), (255, -128), (255, 127), (0, 127)])
def test_the_largest_sums_are_exact(low, high):
    """All values at an end of their range, at the deepest k of sums in int32; 16 bits would saturate."""
    k = int8_packing.SLICE
    a, b = torch.full((3, k), low, dtype=torch.uint8), torch.full((2, k), high, dtype=torch.int8)
    for zero in (0, 255):
        got = gk.ops.int8_gemm(a, b, a_zero_point=torch.tensor([zero], dtype=torch.int32))
        assert (got == (low - zero) * high * k).all()


@pytest.mark.parametrize("k", [65537, 131071, 200003])
def test_deeper_sums_do_not_overflow(k):
    one = torch.ones(1)
    least = torch.full((2, k), -128, dtype=torch.int8)
    assert (gk.ops.int8_gemm(least, least, one, torch.ones(2)) == float(np.float32(k * 2**14))).all()
    a, b = extremes((5, k), torch.uint8), extremes((3, k), torch.int8)
    zero = torch.tensor([0, 255, 3, 128, 7], dtype=torch.int32)
    got = gk.ops.int8_gemm(a, b, one, torch.ones(3), a_zero_point=zero)
    np.testing.assert_array_equal(got.numpy(), numpy_sums(a, b, zero).astype(np.float32))


def assert_near(out, exact, terms, roundings):
    """Within half an EPS of the terms for each rounding."""
    assert out.shape == exact.shape
    error = np.abs(out.double().numpy() - exact)
    assert (error <= roundings * EPS / 2 * terms).all(), error.max()


@pytest.mark.parametrize("shape", SHAPES)
def test_scales_and_bias(shape):
    m, n, k = shape
    a, b = integers((m, k), torch.int8, 1), integers((n, k), torch.int8, 2)
    row, col, bias = torch.rand(m) + 0.1, torch.rand(n) + 0.1, torch.randn(n)
    for row_scale, some_bias in ((row, bias), (row[:1], None)):
        if m == 0:
            row_scale = torch.ones(1)
        product = numpy_sums(a, b) * (row_scale.double()[:, None] * col.double()).numpy()
        shift = 0 if some_bias is None else some_bias.double().numpy()
        out = gk.ops.int8_gemm(a, b, row_scale, col, bias=some_bias)
        # Rounded: the sum, the two scales, their product with it, the addition.
        assert_near(out, product + shift, np.abs(product) + np.abs(shift), 4)


@pytest.mark.parametrize("shape", SHAPES)
def test_float_rows_are_quantized_as_the_contract_says(shape):
    m, n, k = shape
    x, b, col = float_rows(m, k), integers((n, k), torch.int8, 2), torch.rand(n) + 0.1
    scale, zero = numpy_quantizer(x.numpy())
    q = numpy_quantized(x.numpy(), scale, zero)
    product = (q - zero.astype(np.int64)[:, None]) @ b.numpy().astype(np.int64).T
    product = product * scale.astype(np.float64)[:, None] * col.double().numpy()
    assert_near(gk.ops.int8_gemm(x, b, None, col), product, np.abs(product), 4)
    static = torch.tensor([0.02]), torch.tensor([90], dtype=torch.int32)
    q = numpy_quantized(x.numpy(), static[0].numpy(), static[1].numpy())
    product = ((q - 90) @ b.numpy().astype(np.int64).T) * 0.02 * col.double().numpy()
    out = gk.ops.int8_gemm(x, b, static[0], col, a_zero_point=static[1])
    assert_near(out, product, np.abs(product), 5)  # one more: 0.02 is no float32


def test_quantization_costs_what_it_must():
    """Half a step of a and of b in every product, at worst; random errors stay far below that."""
    x, w = float_rows(40, 512, 3), torch.randn(48, 512)
    col = w.abs().amax(1) / 127
    b = (w / col[:, None]).round().to(torch.int8)
    scale = numpy_quantizer(x.numpy())[0]
    out, exact = gk.ops.int8_gemm(x, b, None, col), x.double() @ w.double().T
    worst = torch.from_numpy(scale)[:, None] / 2 * w.abs().sum(1) + x.abs().sum(1)[:, None] * col / 2
    assert ((out - exact).abs() <= worst + 512 * torch.from_numpy(scale)[:, None] * col / 4 + 1e-6).all()


@pytest.mark.parametrize("name", [*gk.ops.activation.NAMES])
def test_activations(name):
    a, b = integers((19, 40), torch.int8, 1), integers((37, 40), torch.int8, 2)
    row, col, bias = torch.full((1,), 0.01), torch.full((37,), 0.01), torch.randn(37)
    before = gk.ops.int8_gemm(a, b, row, col, bias=bias)
    slope = {"leaky_relu": 0.2, "prelu": torch.rand(37)}.get(name)
    out = gk.ops.int8_gemm(a, b, row, col, bias=bias, activation=name, activation_param=slope)
    slopes = torch.as_tensor(slope) if slope is not None else None
    expected = (
        torch.where(before > 0, before, before * slopes)
        if slopes is not None
        else getattr(F, name, getattr(torch, name, None))(before)
    )
    # exp, tanh and erf are good to 2e-7 (csrc/cpu/activation.inl), and so is torch's; some are multiplied by the value.
    assert ((out - expected).abs() <= (4e-7 + 4 * EPS) * before.abs().clamp_min(1)).all()


@pytest.mark.parametrize("zero", [0, 100, 255])
def test_requantizes(zero):
    for m, n, k in SHAPES:
        a, b = integers((m, k), torch.uint8, 1), integers((n, k), torch.int8, 2)
        row, col, bias = torch.tensor([0.01]), torch.rand(n) / 100, torch.randn(n)
        real = gk.ops.int8_gemm(a, b, row, col, bias=bias)
        got = gk.ops.int8_gemm(a, b, row, col, bias=bias, out_scale=0.05, out_zero_point=zero)
        assert got.dtype == torch.uint8
        expected = numpy_quantized(real.numpy(), np.float32([0.05]), np.float32([zero]))
        np.testing.assert_array_equal(got.numpy(), expected)


def test_a_bad_row_comes_out_as_nan_and_no_other_does():
    x = float_rows(20, 70)
    x[3, 69], x[7, 0], x[11, 33] = float("nan"), float("inf"), -float("inf")
    out = gk.ops.int8_gemm(x, integers((33, 70), torch.int8), None, torch.ones(33))
    bad = out.isnan().all(1)
    assert bad.nonzero().flatten().tolist() == [3, 7, 11]
    assert out[~bad].isfinite().all()
    # With a given scale a NaN is the lowest value, and infinities the ends of the range.
    rows = torch.tensor([[float("nan")], [-float("inf")], [float("inf")]])
    out = gk.ops.int8_gemm(rows, torch.ones(1, 1, dtype=torch.int8), torch.ones(1), torch.ones(1))
    assert out.flatten().tolist() == [0, 0, 255]


@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-36, 3e38])
def test_rows_of_any_size(size):
    """Rows at the ends of float32: a denormal counts as 0, and nothing overflows."""
    x = torch.tensor([[size, -size, size / 2]])
    out = gk.ops.int8_gemm(x, torch.tensor([[1, 0, 0]], dtype=torch.int8), None, torch.ones(1))
    assert abs(out.item() - size) <= 2 * size / 255 + 2.0**-125


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x, b = torch.randn(9, 50).to(dtype), integers((20, 50), torch.int8)
    out = gk.ops.int8_gemm(x, b, None, torch.full((20,), 0.01))
    assert out.dtype == dtype
    assert torch.equal(out, gk.ops.int8_gemm(x.float(), b, None, torch.full((20,), 0.01)).to(dtype))


def test_packing_is_one_layout_and_comes_back():
    for _, n, k in SHAPES:
        b = integers((n, k), torch.int8)
        packed = gk.ops.int8_gemm_pack(b)
        assert torch.equal(packed, int8_packing.pack(b))
        assert torch.equal(gk.ops.int8_gemm_unpack(packed, n, k), b)


def test_packed_gives_the_same():
    for m, n, k in SHAPES:
        x, b, col = float_rows(m, k), integers((n, k), torch.int8), torch.rand(n)
        packed = gk.ops.int8_gemm_pack(b)
        assert torch.equal(
            gk.ops.int8_gemm_packed(x, packed, None, col, n=n), gk.ops.int8_gemm(x, b, None, col)
        )


def test_any_layout_and_leading_sizes():
    x = torch.randn(3, 60, 5).transpose(1, 2)
    b = integers((60, 24), torch.int8).t()[:, ::1]
    wide = integers((24, 120), torch.int8)[:, ::2]
    one = torch.ones(24)
    assert torch.equal(
        gk.ops.int8_gemm(x, b, None, one),
        gk.ops.int8_gemm(x.reshape(15, 60), b.contiguous(), None, one).reshape(3, 5, 24),
    )
    assert torch.equal(
        gk.ops.int8_gemm(x[0, 0], wide, None, one),
        gk.ops.int8_gemm(x[:1, 0].contiguous(), wide.contiguous(), None, one)[0],
    )
    packed = torch.cat((torch.zeros(1, dtype=torch.int8), gk.ops.int8_gemm_pack(b)))[1:]  # not aligned
    assert torch.equal(gk.ops.int8_gemm_packed(x, packed, None, one, n=24), gk.ops.int8_gemm(x, b, None, one))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    before = torch.get_num_threads()
    cases = [(1, 4000, 300), (40, 1500, 320), (700, 96, 130)]
    inputs = [(float_rows(m, k), integers((n, k), torch.int8), None, torch.ones(n)) for m, n, k in cases]
    expected = [gk.ops.int8_gemm(*args) for args in inputs]
    try:
        torch.set_num_threads(threads)
        assert all(
            torch.equal(gk.ops.int8_gemm(*args), out) for args, out in zip(inputs, expected, strict=True)
        )
    finally:
        torch.set_num_threads(before)
