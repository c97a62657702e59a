"""sgemm on CUDA: nvcc's code of csrc/cuda, launcher included, run on the PTX simulator against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from greenkernels import _nvcc
from greenkernels.ptxsim import kernels
from greenkernels.ptxsim.device import Device, LauncherError
from greenkernels.ptxsim.stems.sgemm import ACTIVATIONS, sgemm

pytestmark = pytest.mark.skipif(_nvcc.find_nvcc() is None, reason="no nvcc")

UNIT = np.finfo(np.float32).eps / 2  # largest relative error of one rounding

# (batch, m, n, k): one element; no rows, no columns, no products, no items; k of a part of a slice, of one, of
# three and a part; ragged; one whole tile; a tile plus one, either way
SHAPES = [
    (1, 1, 1, 1),
    (1, 0, 5, 3),
    (1, 4, 0, 3),
    (1, 5, 7, 0),
    (0, 3, 4, 5),
    (1, 3, 5, 7),
    (1, 9, 11, 8),
    (1, 31, 33, 27),
    (2, 17, 70, 33),
    (1, 128, 128, 32),
    (1, 129, 64, 12),
    (1, 20, 132, 40),
]
LAYOUTS = ["rows", "columns"]


@pytest.fixture(scope="module")
def device() -> Device:
    return Device(kernels.compiled())


def operand(shape: tuple[int, int, int], layout: str, seed: int) -> np.ndarray:
    """float32 [batch, rows, k] in memory of its own, the depth or the rows having stride 1."""
    batch, rows, depth = shape
    rng = np.random.default_rng(seed)
    if layout == "rows":
        return rng.standard_normal((batch, rows, depth), dtype=np.float32)
    return rng.standard_normal((batch, depth, rows), dtype=np.float32).transpose(0, 2, 1)


def bound(a: np.ndarray, b: np.ndarray, extra: np.ndarray | float = 0.0) -> np.ndarray:
    """Of the error of a sum of k products and ``extra``: k + 3 roundings, each of at most all magnitudes."""
    sizes = np.abs(a).astype("f8") @ np.abs(b).astype("f8").transpose(0, 2, 1) + np.abs(extra)
    return (a.shape[2] + 3) * UNIT * sizes * (1 + 1e-3)  # and the terms of second order


@pytest.mark.parametrize("b_layout", LAYOUTS)
@pytest.mark.parametrize("a_layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_float64(device: Device, shape: tuple[int, ...], a_layout: str, b_layout: str) -> None:
    batch, m, n, k = shape
    a, b = operand((batch, m, k), a_layout, 1), operand((batch, n, k), b_layout, 2)
    out = np.full((batch, m, n), np.nan, np.float32)
    reports = sgemm(device, a, b, out)
    assert len(reports) == (1 if batch * m * n else 0)
    exact = a.astype("f8") @ b.astype("f8").transpose(0, 2, 1)
    assert (np.abs(out - exact) <= bound(a, b)).all()


@pytest.mark.parametrize("offset", [1, 2])
def test_pointers_that_allow_no_vectors(device: Device, offset: int) -> None:
    """Sizes that 16-byte accesses fit, at an address that they do not."""
    a, b = (np.random.default_rng(seed).standard_normal((1, 32, 18), dtype=np.float32) for seed in (3, 4))
    a, b = a[:, :, offset : offset + 16], b[:, :, offset : offset + 16]
    memory = np.full((1, 32, 36), np.nan, np.float32)
    out = memory[:, :, offset : offset + 32]
    sgemm(device, a, b, out)
    assert (np.abs(out - a.astype("f8") @ b.astype("f8").transpose(0, 2, 1)) <= bound(a, b)).all()
    assert np.isnan(memory[:, :, :offset]).all()  # nothing beside it is written
    assert np.isnan(memory[:, :, offset + 32 :]).all()


def activated(name: str, v: np.ndarray, slope: np.ndarray) -> np.ndarray:
    relu, six = np.maximum(v, 0), np.clip(v + 3, 0, 6)
    sigmoid = 1 / (1 + np.exp(-v))
    erf = np.vectorize(math.erf, otypes=["f8"])
    return {
        "none": v,
        "relu": relu,
        "relu6": np.minimum(relu, 6),
        "leaky_relu": np.where(v > 0, v, slope * v),
        "prelu": np.where(v > 0, v, slope * v),
        "silu": v * sigmoid,
        "gelu": v / 2 * (1 + erf(v / math.sqrt(2))),
        "sigmoid": sigmoid,
        "tanh": np.tanh(v),
        "hardswish": v * six / 6,
        "hardsigmoid": six / 6,
    }[name]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_epilogue(device: Device, activation: str) -> None:
    a, b = operand((1, 6, 5), "rows", 5), operand((1, 9, 5), "rows", 6)
    rng = np.random.default_rng(7)
    bias, old = rng.standard_normal(9, dtype=np.float32), rng.standard_normal((1, 6, 9), dtype=np.float32)
    slopes = {"leaky_relu": np.float32([0.1]), "prelu": rng.random(9, dtype=np.float32)}.get(activation)
    out = old.copy()
    sgemm(device, a, b, out, bias=bias, beta=0.5, activation=activation, activation_param=slopes)
    extra = bias + 0.5 * old.astype("f8")
    exact = a.astype("f8") @ b.astype("f8").transpose(0, 2, 1) + extra
    wanted = activated(activation, exact, 0.0 if slopes is None else slopes.astype("f8"))
    # No activation grows faster than 1.2 v (hardswish and silu are the steepest). Its own error is that of eight
    # roundings of terms no larger than v, and 1.
    allowed = 1.2 * bound(a, b, np.abs(bias) + np.abs(old)) + 8 * UNIT * (1 + np.abs(exact))
    assert (np.abs(out - wanted) <= allowed).all()


def test_a_number_that_is_none_comes_through(device: Device) -> None:
    a, b = np.ones((1, 2, 3), np.float32), np.ones((1, 4, 3), np.float32)
    a[0, 1, 2] = np.nan
    out = np.zeros((1, 2, 4), np.float32)
    sgemm(device, a, b, out, activation="relu")
    assert (out[0, 0] == 3).all()
    assert np.isnan(out[0, 1]).all()


def test_a_batch_may_share_an_operand(device: Device) -> None:
    a = operand((3, 4, 8), "rows", 8)
    b = np.broadcast_to(operand((1, 6, 8), "rows", 9), (3, 6, 8))
    out = np.full((3, 4, 6), np.nan, np.float32)
    sgemm(device, a, b, out)
    assert (np.abs(out - a.astype("f8") @ b.astype("f8").transpose(0, 2, 1)) <= bound(a, b)).all()


def test_what_the_contract_leaves_out_is_refused(device: Device) -> None:
    """k of 2^31: nothing is launched, so that no memory is needed for it."""
    a = np.broadcast_to(np.zeros((1, 1, 1), np.float32), (1, 1, 2**31))
    with pytest.raises(LauncherError) as refused:
        sgemm(device, a, a, np.zeros((1, 1, 1), np.float32))
    assert refused.value.status == 1  # cudaErrorInvalidValue


@pytest.mark.parametrize("layouts", [("rows", "rows"), ("columns", "columns"), ("rows", "columns")])
def test_hot_lines_waste_nothing(device: Device, layouts: tuple[str, str]) -> None:
    """On whole tiles: no bank conflict anywhere, and every sector that is moved is used."""
    a, b = operand((1, 128, 64), layouts[0], 1), operand((1, 128, 64), layouts[1], 2)
    (report,) = sgemm(device, a, b, np.zeros((1, 128, 128), np.float32))
    total = report.statistics.total()
    assert {kind: traffic.ratio for kind, traffic in total.traffic.items()} == {
        "global load": 1,
        "global store": 1,
        "shared load": 1,
        "shared store": 1,
    }
    # 128^2 * 64 multiply-adds by 32 lanes each; all else must stay below a fifth of them.
    assert report.statistics.by_opcode()["fma"].issued == 128 * 128 * 64 // 32
    assert total.issued <= 1.45 * 128 * 128 * 64 // 32
