"""Non-negative least squares, for the few unknowns of a calibration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def non_negative_least_squares(
    rows: Sequence[Sequence[float]], targets: Sequence[float]
) -> tuple[list[float], float]:
    """The x >= 0 with the least ``|A x - b|``: the best of the solutions with some unknowns held at 0.

    The optimum solves the unconstrained problem in the unknowns that are not 0 there (Lawson and Hanson, "Solving Least
    Squares Problems", 1974, chapter 23), so trying every such set finds it exactly; for a few unknowns that is cheap.

    Args:
        rows: A, a row a measurement.
        targets: b.

    Returns:
        x, and the residual ``|A x - b| / |b|``.

    Raises:
        ValueError: fewer measurements than unknowns, or a target that is all 0.
    """
    a, b = torch.tensor(rows, dtype=torch.float64), torch.tensor(targets, dtype=torch.float64)
    if a.dim() != 2 or a.shape[0] < a.shape[1]:
        raise ValueError(f"fit: needs at least as many measurements as unknowns, got {list(a.shape)}")
    if not b.norm() > 0:
        raise ValueError("fit: every measurement is 0")
    scale = a.norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)  # bytes and seconds differ by 10 orders
    best, least = torch.zeros(a.shape[1], dtype=torch.float64), float(b.norm())
    for size in range(1, a.shape[1] + 1):
        for chosen in itertools.combinations(range(a.shape[1]), size):
            x = _solve(a / scale, b, chosen)
            residual = float((a / scale @ x - b).norm())
            if (x >= 0).all() and residual < least:
                best, least = x, residual
    return (best / scale).tolist(), least / float(b.norm())


def _solve(a: Tensor, b: Tensor, chosen: tuple[int, ...]) -> Tensor:
    """Least squares in the chosen unknowns, 0 in the others."""
    x = torch.zeros(a.shape[1], dtype=torch.float64)
    x[list(chosen)] = torch.linalg.lstsq(a[:, list(chosen)], b[:, None], driver="gelsd").solution[:, 0]
    return x
