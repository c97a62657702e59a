"""How much each weight matters: magnitude, gradient (first order), Fisher information (second order).

All scores are 0 or more and of the shape of the weight; the least are pruned first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .layers import trained_weight

Loss = Callable[[nn.Module, Any], Tensor]
Scores = dict[str, Tensor]


def gradients(
    model: nn.Module, layers: dict[str, nn.Module], loss: Loss | None, batches: Iterable[Any]
) -> Iterable[list[Tensor]]:
    """For each batch, the gradient of its loss with respect to the effective weight of each layer.

    The effective weight, not the one beneath a mask: what is masked has a gradient too.

    Raises:
        ValueError: no loss, or no batch.
    """
    if loss is None:
        raise ValueError("prune: loss must be a function of model and batch for this importance, got None")
    none = True
    for batch in batches:
        none = False
        seen: dict[nn.Module, Tensor] = {}
        handles = [module.register_forward_pre_hook(_keep_weight(seen)) for module in layers.values()]
        try:
            with torch.enable_grad():
                value = loss(model, batch)
                weights = [seen.get(module, trained_weight(module)) for module in layers.values()]
                found = torch.autograd.grad(value, weights, allow_unused=True)
        finally:
            for handle in handles:
                handle.remove()
        yield [torch.zeros_like(w) if g is None else g.detach() for w, g in zip(weights, found, strict=True)]
    if none:
        raise ValueError("prune: batches must hold at least one batch for this importance, got none")


def _keep_weight(seen: dict[nn.Module, Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, _: Any) -> None:  # runs after the hook that applies the mask
        seen[module] = module.weight

    return hook


def magnitude(
    model: nn.Module, layers: dict[str, nn.Module], loss: Loss | None, batches: Iterable[Any]
) -> Scores:
    """``|w|``."""
    return {name: trained_weight(module).detach().abs() for name, module in layers.items()}


def gradient(
    model: nn.Module, layers: dict[str, nn.Module], loss: Loss | None, batches: Iterable[Any]
) -> Scores:
    """``mean(|w * g|)`` over the batches: what removing a weight changes in the loss of a batch, to first order.

    The size of each batch's change, not of their sum: at the end of training the gradients of batches cancel out, and
    what is left of their sum says nothing about a weight.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017.
    """
    totals: list[Tensor] | None = None
    count = 0
    for found in gradients(model, layers, loss, batches):
        sizes = [g.abs() for g in found]
        totals = sizes if totals is None else [t + s for t, s in zip(totals, sizes, strict=True)]
        count += 1
    return {
        name: trained_weight(module).detach().abs() * total / count
        for (name, module), total in zip(layers.items(), totals, strict=True)
    }


def fisher(
    model: nn.Module, layers: dict[str, nn.Module], loss: Loss | None, batches: Iterable[Any]
) -> Scores:
    """``w^2 * mean(g^2) / 2``: the loss to second order, with the empirical Fisher information as a diagonal Hessian.

    Source: LeCun, Denker and Solla, "Optimal Brain Damage", NIPS 1989, with the Fisher information in the place of the
    Hessian.
    """
    totals: list[Tensor] | None = None
    count = 0
    for found in gradients(model, layers, loss, batches):
        squares = [g.square() for g in found]
        totals = squares if totals is None else [t + s for t, s in zip(totals, squares, strict=True)]
        count += 1
    return {
        name: trained_weight(module).detach().square() * total / (2 * count)
        for (name, module), total in zip(layers.items(), totals, strict=True)
    }


IMPORTANCES: dict[str, Callable[..., Scores]] = {
    "magnitude": magnitude,
    "gradient": gradient,
    "fisher": fisher,
}
