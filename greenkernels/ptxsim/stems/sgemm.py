"""sgemm: one product of random matrices, a [m, k] and b [n, k]."""

import torch

from ..simulation import Problem, sizes_of

SIZES = "MxNxK"


def problem(sizes: tuple[int, ...]) -> Problem:
    """The product, and its value in float64.

    Raises:
        ValueError: ``sizes`` are not m, n and k.
    """
    m, n, k = sizes_of(SIZES, sizes)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(rows, k, generator=generator) for rows in (m, n))
    return Problem("sgemm", (a, b, None, None, None), a.double() @ b.double().T, m * n * k)
