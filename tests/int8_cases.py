"""Inputs and oracles that the tests of all int8 kernels share. Oracles are numpy int64: they know no kernel."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from greenkernels import _isa

EPS = torch.finfo(torch.float32).eps  # a rounding changes a value by at most EPS / 2 of its size
PLAIN_TORCH = "plain-torch"


def instruction_sets() -> list[tuple[str, bool]]:
    """Each level this CPU has, with and without its 8-bit dot products where it has them."""
    found = []
    for level in _isa.levels():
        with _isa.forced(level):
            found.append((level, False))
            if torch.ops.greenkernels.vnni():
                found.append((level, True))
    return found or [(PLAIN_TORCH, False)]


@pytest.fixture(params=instruction_sets(), ids=lambda p: p[0] + ("-vnni" if p[1] else ""))
def int8_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once per way that this CPU has to sum products of 8-bit integers."""
    level, vnni = request.param
    if level == PLAIN_TORCH:
        yield level
        return
    with _isa.forced(level), nullcontext() if vnni else _isa.without_vnni():
        yield level


def integers(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Every value of the dtype equally likely."""
    info = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(info.min, info.max + 1, shape, generator=generator).to(dtype)


def extremes(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Only the least and the largest value of the dtype."""
    info = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(seed)
    return torch.where(torch.rand(shape, generator=generator) < 0.5, info.min, info.max).to(dtype)


def numpy_sums(a: Tensor, b: Tensor, zero_point: Tensor | None = None) -> np.ndarray:
    """``(a - zero_point) @ b^T`` in int64."""
    left = a.numpy().astype(np.int64)
    if zero_point is not None:
        left = left - zero_point.numpy().astype(np.int64)[..., None]
    return left @ b.numpy().astype(np.int64).T


def numpy_quantized(x: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """The contract's quantization of rows, in float32 as it says; int64."""
    q = np.rint(x * (np.float32(1) / scale)[..., None]) + zero[..., None]
    return np.clip(np.nan_to_num(q, nan=0.0), 0, 255).astype(np.int64)


def numpy_quantizer(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scale and the zero point that the contract gives to each row of finite float32 ``x``."""
    high, low = x.max(axis=-1, initial=0), x.min(axis=-1, initial=0)
    scale = np.maximum(high / np.float32(255) - low / np.float32(255), np.float32(2.0**-126))
    return scale, -np.rint(low * (np.float32(1) / scale))


def float_rows(m: int, k: int, seed: int = 0) -> Tensor:
    """Rows of very different size and offset, so that scales and zero points differ; the second row is 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, k, generator=generator) + torch.randn(m, 1, generator=generator)
    x *= torch.logspace(-3, 3, m).unsqueeze(1) if m > 1 else 1.0
    if m > 1:
        x[1] = 0
    return x
