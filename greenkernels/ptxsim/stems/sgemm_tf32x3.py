"""sgemm_tf32x3: one product of random matrices, a [m, k] and b [n, k]."""

from ..simulation import Problem
from . import sgemm

SIZES = sgemm.SIZES


def problem(sizes: tuple[int, ...]) -> Problem:
    """The product of sgemm, and its value in float64.

    Raises:
        ValueError: ``sizes`` are not m, n and k.
    """
    stock = sgemm.problem(sizes)
    return Problem("sgemm_tf32x3", stock.args, stock.exact, stock.multiply_adds)
