"""Tensors with leading dimensions as matrices."""

from collections.abc import Callable

from torch import Tensor


def as_rows(a: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
    """``product`` of ``a [..., k]`` as a matrix; its result with the leading dimensions of ``a``."""
    if a.dim() == 2:
        return product(a)
    if a.dim() < 2:
        return product(a.unsqueeze(0)).squeeze(0)
    return product(a.flatten(0, -2)).unflatten(0, a.shape[:-1])
