"""int8_gemm: one product of random integers, int8 [m, k] and [n, k], with scales and bias."""

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
    a, b = (torch.randint(-128, 128, (rows, k), dtype=torch.int8, generator=generator) for rows in (m, n))
    rows, columns, bias = (torch.rand(size, generator=generator) for size in (m, n, n))
    exact = rows.double()[:, None] * columns.double() * (a.double() @ b.double().T) + bias.double()
    args = (a, b, rows, columns, None, bias, None, None, None, 0)
    return Problem("int8_gemm", args, exact, m * n * k)
