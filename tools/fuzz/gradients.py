"""Problems of the kernels of gradients: each function draws one."""

from __future__ import annotations

import random

import torch
from convolutions import channels_of, conv, map_of, terms_of
from inputs import LAYOUTS, finite, laid, values
from products import FLOATS, Maker, operands, sparse
from test_winograd_conv2d_grad_ops import bounds
from torch import Tensor
from verdicts import Bound, Problem, rounding_bound
from winograd_cases import TILES

from greenkernels.ops.csr_matmul_op import values_grad
from greenkernels.ops.winograd_conv2d_grad_op import input_grad, weight_grad

_LEAST = 1e-30  # what denormal operands may leave out


def _maps(
    choose: random.Random, size: str, most_padding: int
) -> tuple[tuple[int, ...], int, tuple[int, int]]:
    """The shape of a map, the output channels and the padding of a convolution of 3x3."""
    padding = (choose.randint(0, most_padding), choose.randint(0, most_padding))
    batch, in_c, out_c = channels_of(choose, size, 2)
    return (batch, in_c, *map_of(choose, size, [max(0, 3 - 2 * p) for p in padding])), out_c, padding


def _out_shape(shape: tuple[int, ...], out_c: int, padding: tuple[int, int]) -> tuple[int, ...]:
    return (shape[0], out_c, *(shape[2 + d] + 2 * padding[d] - 2 for d in (0, 1)))


def _largest(x: Tensor) -> float:
    return float(finite(x).abs().max()) if x.numel() else 0.0


def winograd_conv2d_input_grad(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    shape, out_c, padding = _maps(choose, size, 2)
    tile, w_shape = choose.choice(TILES), (out_c, shape[1], 3, 3)
    kind, grad, w, _ = terms_of(choose, _out_shape(shape, out_c, padding), w_shape, dtype)
    turned, outer = w.transpose(0, 1).flip(2, 3), {"padding": tuple(2 - p for p in padding)}

    def exact(grad: Tensor) -> tuple[Tensor, Bound]:
        expected = conv(grad, turned, None, outer)
        if not expected.numel() or (
            kind == "integers" and tile == 2 and dtype in (torch.float32, torch.float64)
        ):
            return expected, 0.0
        return expected, bounds(grad, grad, w, tile)[0] * _largest(grad) + _LEAST

    return Problem(grad, (lambda grad: input_grad(grad, w, padding, tile),), exact, like=dtype, spreads=True)


def winograd_conv2d_weight_grad(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    shape, out_c, padding = _maps(choose, size, 3)
    tile = choose.choice([2, 4])
    _, x, grad, _ = terms_of(choose, shape, _out_shape(shape, out_c, padding), dtype)

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        across = x.transpose(0, 1), grad.transpose(0, 1)
        if 0 in (*x.shape, *grad.shape):
            return x.new_zeros(out_c, shape[1], 3, 3, dtype=torch.float64), 0.0
        expected = conv(*across, None, {"padding": padding}).transpose(0, 1)
        largest = _largest(x) * _largest(grad)
        return expected, bounds(x, grad, x.new_zeros(out_c, shape[1], 3, 3), tile)[1] * largest + _LEAST

    return Problem(x, (lambda x: weight_grad(x, grad, padding, tile),), exact, like=dtype, spreads=True)


def csr_matmul_values_grad(choose: random.Random, size: str, dtype: torch.dtype) -> Problem:
    kind, x, b, _ = operands(choose, size, dtype)
    kept = sparse(choose, torch.ones(b.shape))
    kept.view(-1)[:1] = 1  # else there is nothing to compute
    csr, shape = kept.to_sparse_csr(), (x.shape[0], b.shape[0])
    crow, col = csr.crow_indices(), csr.col_indices()
    other = kind if kind in ("integers", "scaled") else "uniform"
    grad = laid(values(choose, shape, other, dtype), choose.choice(LAYOUTS[:4]))

    def exact(x: Tensor) -> tuple[Tensor, Bound]:
        expected = (grad.double().mT @ x.double())[kept != 0]
        if kind == "integers":
            return expected, 0.0
        terms = (grad.double().abs().mT @ finite(x).double().abs())[kept != 0]
        return expected, rounding_bound(terms, x.shape[0], _largest(grad), dtype)

    return Problem(x, (lambda x: values_grad(crow, col, grad, x),), exact, like=dtype)


ON_MAPS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "winograd_conv2d_input_grad": (winograd_conv2d_input_grad, FLOATS),
    "winograd_conv2d_weight_grad": (winograd_conv2d_weight_grad, FLOATS),
}
MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "csr_matmul_values_grad": (csr_matmul_values_grad, FLOATS)
}
