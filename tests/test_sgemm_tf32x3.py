"""precision="3xtf32" of products: its arithmetic in numpy, the option of the functions, the ops behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conv_cases import make

import greenkernels as gk
from greenkernels.ops.sgemm_tf32x3_op import batched, batched_plain, gemm, gemm_out, gemm_plain

OF_A_PRODUCT = 2.0**-21  # what csrc/api/sgemm.h says that splitting leaves out


def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As csrc/cuda/sgemm_tf32x3.cuh splits float32: both with 11 bits, in float64."""
    high = ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    low = x - high
    cut = (low.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)  # by tensor cores
    return high.astype(np.float64), cut.astype(np.float64)


def numbers() -> np.ndarray:
    """Of all sizes whose parts are normal numbers; every pattern of the bits that are rounded away."""
    random = np.random.default_rng(0)
    ends = np.arange(1 << 14, dtype=np.uint32) + np.uint32(0x3F800000)
    scaled = random.standard_normal(1 << 16) * 2.0 ** random.integers(-60, 60, 1 << 16)
    worst = np.array([0x3F800FFF, 0x3F801000, 0x3F801FFF, 0xBF800FFF, 0x3FFFFFFF], np.uint32)
    return np.concatenate(
        [ends.view(np.float32), scaled.astype(np.float32), worst.view(np.float32), np.zeros(3, np.float32)]
    )


def test_two_parts_lose_at_most_one_bit() -> None:
    x = numbers()
    high, low = parts(x)
    size = np.abs(x.astype(np.float64))
    assert (np.abs(low) <= 2.0**-11 * size).all()
    assert (np.abs(x - high - low) <= 2.0**-23 * size).all()


def test_three_products_are_within_the_bound() -> None:
    x = numbers()
    y = np.random.default_rng(1).permutation(x)
    (high, low), (other_high, other_low) = parts(x), parts(y)
    exact = x.astype(np.float64) * y.astype(np.float64)  # 48 bits: exact, as are the products below
    made = high * other_high + (high * other_low + low * other_high)
    assert (np.abs(made - exact) <= OF_A_PRODUCT * np.abs(exact) * (1 + 1e-6)).all()
    # Neither part leans to one side: means of errors vanish, where cutting off would leave 2^-23 and more.
    errors = (made - exact)[exact != 0] / exact[exact != 0]
    assert abs(errors.mean()) <= 5 * errors.std() / len(errors) ** 0.5 + 2.0**-26


def test_small_numbers_lose_what_lies_below_the_last_bit() -> None:
    x = np.array([2.0**-113, 2.0**-120, 2.0**-130, 2.0**-149], np.float32) * np.float32(1.2345678)
    high, low = parts(x)
    assert (np.abs(x - high - low) <= 2.0**-136).all()


def test_what_is_not_finite_is_not_lost() -> None:
    bits = np.array([0x7F800000, 0xFF800000, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32)
    with np.errstate(invalid="ignore"):
        high, low = parts(np.append(bits.view(np.float32), np.float32(3.4028e38)))
        assert np.isnan(high + low)[:6].all()
    assert not np.isfinite(high[6])


def test_the_cpu_computes_in_float32() -> None:
    a, b, bias = make((5, 7), 1), make((6, 7), 2), make((6,), 3)
    for options in ({}, {"activation": "gelu"}, {"activation": "leaky_relu", "activation_param": 0.1}):
        asked = gk.ops.sgemm(a, b, bias, precision="3xtf32", **options)
        assert torch.equal(asked, gk.ops.sgemm(a, b, bias, **options))
    out = torch.ones(5, 6)
    gk.ops.sgemm(a, b, bias, beta=0.5, out=out, precision="3xtf32")
    assert torch.equal(out, gk.ops.sgemm(a, b, bias, beta=0.5, out=torch.ones(5, 6)))


@pytest.mark.parametrize(
    ("left", "right"),
    [((7, 20), (20, 9)), ((2, 1, 7, 20), (3, 20, 9)), ((20,), (20, 9)), ((2, 7, 20), (20,))],
)
def test_matmul_takes_it_too(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = make(left, 1), make(right, 2)
    assert torch.equal(gk.ops.matmul(a, b, precision="3xtf32"), gk.ops.matmul(a, b))


def test_what_it_is_not_for_is_refused() -> None:
    a, b = make((4, 8)), make((6, 8))
    message = "precision must be one of float32, 3xtf32, got 'tf32'"
    with pytest.raises(ValueError, match=message):
        gk.ops.sgemm(a, b, precision="tf32")
    with pytest.raises(ValueError, match=message):
        gk.ops.matmul(a, b.t(), precision="tf32")
    double = a.double()
    for device in ("cpu", "meta"):
        wide = double.to(device)
        for op, run in (
            ("sgemm_tf32x3", lambda x: gk.ops.sgemm(x, x, precision="3xtf32")),
            ("sgemm_tf32x3", lambda x: gk.ops.sgemm(x, x, out=x.new_empty(4, 4), precision="3xtf32")),
            ("sgemm_tf32x3_batched", lambda x: gk.ops.matmul(x[None], x.t()[None], precision="3xtf32")),
        ):
            with pytest.raises(
                RuntimeError, match=f"{op}: a must be float16, bfloat16 or float32, got float64"
            ):
                run(wide)


def test_wrong_shapes_have_its_name() -> None:
    for run in (gemm, gemm_plain):
        with pytest.raises(
            RuntimeError, match=r"sgemm_tf32x3: b must be \[\.\.\., n, 8\] for a \[4, 8\], got"
        ):
            run(make((4, 8)), make((8, 6)), None, None, None)
    for run in (batched, batched_plain):
        with pytest.raises(RuntimeError, match="sgemm_tf32x3_batched: b must have 2 items as a has, got 3"):
            run(make((2, 3, 4)), make((3, 3, 4)))


@pytest.mark.parametrize("activation", [None, "relu", "prelu"])
def test_opcheck(activation: str | None) -> None:
    a, b, bias = (x.requires_grad_() for x in (make((5, 7), 1), make((6, 7), 2), make((6,), 3)))
    param = make((6,), 4).requires_grad_() if activation == "prelu" else None
    torch.library.opcheck(gemm, (a, b, bias, activation, param))
    inputs = tuple(None if x is None else x.detach() for x in (a, b, bias, param))
    torch.library.opcheck(gemm_out, (*inputs[:3], activation, inputs[3], 0.5), {"out": torch.zeros(5, 6)})
    torch.library.opcheck(batched, (make((2, 3, 4), 1).requires_grad_(), make((2, 5, 4), 2).requires_grad_()))


def test_gradients_are_those_of_float32() -> None:
    """Bit by bit, here: both call the same kernels of the CPU."""
    grads = []
    for precision in ("float32", "3xtf32"):
        a, b, bias = (x.requires_grad_() for x in (make((5, 7), 1), make((6, 7), 2), make((6,), 3)))
        out = gk.ops.sgemm(a, b, bias, activation="gelu", precision=precision)
        loss = gk.ops.matmul(out[None], b[None], precision=precision).square().sum()
        grads.append(torch.autograd.grad(loss, (a, b, bias)))
    for one, other in zip(*grads, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_casts_as_for_float32(dtype: torch.dtype) -> None:
    a, b = make((5, 12), 1), make((6, 12), 2)
    with torch.autocast("cpu", dtype=dtype):
        out = gk.ops.sgemm(a, b, precision="3xtf32")
        assert out.dtype == dtype
        assert torch.equal(out, gk.ops.sgemm(a, b))
