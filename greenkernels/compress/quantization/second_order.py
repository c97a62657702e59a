"""Rounding that looks at the inputs: what is lost by rounding one weight, those not yet rounded make up for."""

from __future__ import annotations

import torch
from torch import Tensor

from .grids import Grid

BLOCK = 128  # columns whose errors are brought to those behind them in one product
DAMPING = 0.01  # of the mean of the diagonal, added to it: the inputs of calibration are not all there are


def round_second_order(weight: Tensor, grid: Grid, gram: Tensor, kept: Tensor | None = None) -> Tensor:
    """Integers on a grid with a small error of the layer's output, ``|x w^T - x w_q^T|^2`` over the inputs seen.

    Columns are rounded one by one, those with the largest inputs first. Each error is spread over the columns that are
    left so that the output changes least, by the inverse of the products of inputs with each other.

    Args:
        weight: ``[n, k]`` float.
        grid: for the weight, by channel or by group: it is fixed beforehand.
        gram: ``[k, k]``, sum over inputs of ``x x^T``.
        kept: bool ``[n, k]``, False for weights that must be 0, as pruned ones; None for none.

    Returns:
        int8 ``[n, k]``.

    Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR
    2023, with scales that do not move.
    """
    k = weight.shape[1]
    order, spread = _spread_of(gram)
    scale, zero = (_columns(value, grid.group, k)[:, order] for value in (grid.scale, grid.zero))
    if grid.reciprocal:
        scale = 1 / scale
    rest = weight.detach().float()[:, order].clone()
    integers = torch.empty_like(rest)
    held = None if kept is None else ~kept[:, order]
    for begin in range(0, k, BLOCK):
        end = min(k, begin + BLOCK)
        errors = torch.empty(len(rest), end - begin)
        for at in range(begin, end):
            steps = torch.round(rest[:, at] / scale[:, at]) + zero[:, at]
            steps = steps.clamp_(grid.least, grid.most)
            integers[:, at] = steps if held is None else torch.where(held[:, at], zero[:, at], steps)
            rounded = (integers[:, at] - zero[:, at]) * scale[:, at]
            errors[:, at - begin] = (rest[:, at] - rounded) / spread[at, at]
            rest[:, at + 1 : end].addr_(errors[:, at - begin], spread[at, at + 1 : end], alpha=-1)
        rest[:, end:].addmm_(errors, spread[begin:end, end:], alpha=-1)
    return torch.empty_like(integers).index_copy_(1, order, integers).to(torch.int8)


def _spread_of(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The order of the columns, and the upper Cholesky factor of the inverse of their products."""
    hessian = gram.double().clone()
    diagonal = hessian.diagonal()
    diagonal[diagonal == 0] = 1  # an input that is never there: nothing to make up for
    diagonal += DAMPING * diagonal.mean()
    order = diagonal.argsort(descending=True)
    hessian = hessian[order][:, order]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return order, torch.linalg.cholesky(inverse, upper=True).float()


def _columns(value: Tensor, group: int, k: int) -> Tensor:
    """``[n or 1, k]``, one for each element of the weight."""
    if value.dim() == 2:
        return value.repeat_interleave(group, 1)[:, :k]
    return value.reshape(-1, 1).expand(-1, k)
