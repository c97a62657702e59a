"""csr_matmul: random activations [m, k] times a sparse weight [n, k] with a tenth of its values."""

import torch

from ..simulation import Problem, sizes_of

SIZES = "MxNxK"
_DENSITY = 0.1


def problem(sizes: tuple[int, ...]) -> Problem:
    """The product, and its value in float64.

    Raises:
        ValueError: ``sizes`` are not m, n and k.
    """
    m, n, k = sizes_of(SIZES, sizes)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(n, k, generator=generator)
    weight[torch.rand(n, k, generator=generator) >= _DENSITY] = 0
    x, csr = torch.randn(m, k, generator=generator), weight.to_sparse_csr()
    args = (csr.crow_indices().int(), csr.col_indices().int(), csr.values(), x, None)
    return Problem("csr_matmul", args, x.double() @ weight.double().T, m * csr.values().numel())
