"""Shapes, operands and float64 references of dense products on CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}  # largest relative error of one rounding
ACTIVATIONS = {
    "relu": torch.relu,
    "relu6": torch.nn.functional.relu6,
    "leaky_relu": None,
    "prelu": None,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": torch.nn.functional.hardswish,
    "hardsigmoid": torch.nn.functional.hardsigmoid,
}

# (batch, m, n, k): one element; no rows, no columns, no products, no items; k of a part of a slice, of one, of
# three and a part; ragged; whole tiles; a tile plus one, either way
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


def operand(shape: tuple[int, int, int], layout: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """[batch, rows, k] in memory of its own, the depth or the rows having stride 1."""
    batch, rows, depth = shape
    if layout == "rows":
        return torch.randn(batch, rows, depth, dtype=dtype)
    return torch.randn(batch, depth, rows, dtype=dtype).mT


def product(a: Tensor, b: Tensor) -> Tensor:
    return a.cpu().double() @ b.cpu().double().mT


def activated(name: str | None, x: Tensor, slopes: Tensor | None) -> Tensor:
    """An activation of ``x [m, n]`` in float64."""
    if name is None:
        return x
    if slopes is not None:
        return torch.where(x > 0, x, slopes.double() * x)
    return ACTIVATIONS[name](x)


def sgemm_bound(a: Tensor, b: Tensor, extra: Tensor | float = 0.0) -> Tensor:
    """Of the error of a sum of k products and ``extra``: k + 3 roundings, each of at most all magnitudes."""
    sizes = product(a.abs(), b.abs()) + abs(extra)
    return (a.shape[-1] + 3) * EPS[a.dtype] * sizes * (1 + 1e-3)  # and the terms of second order


def tf32x3_bound(a: Tensor, b: Tensor, extra: Tensor | float = 0.0) -> Tensor:
    """Of the error, as csrc/api/sgemm.h derives it; ``extra`` are the magnitudes of bias and old output."""
    k = a.shape[-1]
    roundings = -(-min(k, 4096) // 16) + -(-k // 4096) + 52
    sizes = product(a.abs(), b.abs()) + abs(extra)
    return roundings * EPS[torch.float32] * sizes * (1 + 1e-3)  # and the terms of second order


BOUNDS = {"sgemm": sgemm_bound, "sgemm_tf32x3": tf32x3_bound}  # by op
