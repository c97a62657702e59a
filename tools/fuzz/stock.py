"""Layers of torch with given weights, and the ways to call what stands in for them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from verdicts import Call


def calls_of(module: nn.Module, outer: int) -> tuple[Call, ...]:
    """The module as it is called in inference, and on an argument with one dimension more or less."""
    module.eval().requires_grad_(False)
    if outer > 0:
        return module, lambda x: module(x[None])[0]
    return module, lambda x: module(x[0])[None] if x.shape[0] == 1 else module(x)


def _holds(stock: nn.Module, weight: Tensor, bias: Tensor | None) -> Any:
    stock.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    stock.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return stock.eval()


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    n, k = weight.shape
    return _holds(nn.Linear(k, n, bias is not None, device="meta"), weight, bias)


def conv(weight: Tensor, bias: Tensor | None, geometry: dict[str, Any]) -> nn.Conv2d:
    groups = geometry.get("groups", 1)
    channels = (weight.shape[1] * groups, weight.shape[0])
    about = {"kernel_size": tuple(weight.shape[2:]), "bias": bias is not None, **geometry}
    return _holds(nn.Conv2d(*channels, device="meta", **about), weight, bias)
