"""Sparse weights for the tests of csr_matmul: ragged shapes, rows of every kind, and the bound on errors."""

import math

import torch
from torch import Tensor

# (m, n, k, density): smallest, ragged, around lines of 16 and strips of 64, tiles of 64 and more rows, several blocks
# of columns, nothing stored, everything stored, nothing to sum, no rows of x, no rows of the weight.
SHAPES = [
    (1, 1, 1, 1.0),
    (1, 17, 33, 0.3),
    (2, 70, 300, 0.1),
    (3, 5, 2, 0.5),
    (16, 16, 64, 1.0),
    (17, 33, 70, 0.0),
    (31, 129, 1100, 0.05),
    (33, 67, 513, 0.5),
    (65, 600, 257, 0.02),
    (130, 100, 129, 1.0),
    (200, 31, 40, 0.2),
    (0, 4, 8, 0.5),
    (3, 2, 0, 1.0),
    (3, 0, 5, 1.0),
]


def make_weight(n: int, k: int, density: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """``[n, k]`` of N(0, 1) with zeros; the first row is empty and the last full where there are rows enough."""
    generator = torch.Generator().manual_seed(n + 7 * k)
    weight = torch.randn(n, k, generator=generator, dtype=torch.float64)
    weight[torch.rand(n, k, generator=generator) >= density] = 0
    if n > 2 and 0 < density < 1:
        weight[0] = 0
        weight[-1] = torch.randn(k, generator=generator, dtype=torch.float64)
    return weight.to(dtype)


def make(m: int, n: int, k: int, density: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """``crow_indices, col_indices, values, x, bias`` and the dense weight."""
    generator = torch.Generator().manual_seed(m)
    weight = make_weight(n, k, density, dtype)
    csr = weight.to_sparse_csr()
    x = torch.randn(m, k, generator=generator, dtype=torch.float64).to(dtype)
    bias = torch.randn(n, generator=generator, dtype=torch.float64).to(dtype)
    # Clones: torch.compile and fake tensors cannot follow views of a sparse tensor.
    parts = csr.crow_indices().clone(), csr.col_indices().clone(), csr.values().clone()
    return *parts, x, bias, weight


def expected(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The float64 result, and a bound on its error in the dtype of ``x``.

    A sum of t terms of either sign has errors like a random walk: t roundings of eps / 2 of partial sums that are at
    most the root of the sum of the squared terms, of which 4 standard deviations cover all outputs of a test.
    """
    out = x.double() @ weight.double().T + (0 if bias is None else bias.double())
    squares = x.double().square() @ weight.double().square().T + (
        0 if bias is None else bias.double().square()
    )
    terms = (weight != 0).sum(1).double() + 2
    eps = torch.finfo(x.dtype).eps
    return out, 4 * eps / 2 * terms.sqrt() * squares.sqrt() + eps * out.abs() + math.ulp(0.0)
