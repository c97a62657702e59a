"""strassen_gemm: one product of random matrices, a [m, k] and b [n, k], with levels of Strassen's algorithm."""

from ..simulation import Problem, sizes_of
from . import sgemm

SIZES = f"{sgemm.SIZES}xLEVELS"


def problem(sizes: tuple[int, ...]) -> Problem:
    """The product of sgemm, and its value in float64.

    Raises:
        ValueError: ``sizes`` are not m, n, k and a number of levels.
    """
    *shape, levels = sizes_of(SIZES, sizes)
    stock = sgemm.problem(tuple(shape))
    a, b, bias, *epilogue = stock.args
    return Problem("strassen_gemm", (a, b, bias, levels, *epilogue), stock.exact, stock.multiply_adds)
