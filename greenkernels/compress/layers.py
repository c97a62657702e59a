"""Layers whose weights can be pruned, and their masks, which live where ``torch.nn.utils.prune`` puts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

Layers = Iterable[str] | Callable[[str, nn.Module], bool] | None


def prunable(model: nn.Module, layers: Layers = None) -> dict[str, nn.Module]:
    """Name -> layer: the ``nn.Linear`` and ``nn.Conv2d`` with a dense weight of their own, each once.

    Args:
        model: The network.
        layers: Names to take, or a function of name and module that says which; None for all.

    Raises:
        ValueError: a name is not that of such a layer.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
        and ("weight" in module._parameters or "weight_orig" in module._parameters)
    }
    if layers is None:
        return found
    if callable(layers):
        return {name: module for name, module in found.items() if layers(name, module)}
    names = list(layers)
    for name in names:
        if name not in found:
            raise ValueError(f"layers must be among {', '.join(found)}, got {name!r}")
    return {name: found[name] for name in names}


def trained_weight(module: nn.Module) -> nn.Parameter:
    """The Parameter that training changes: beneath the mask where there is one."""
    masked = module._parameters.get("weight_orig")
    return module.weight if masked is None else masked


def mask_of(module: nn.Module, name: str = "weight") -> Tensor:
    """bool, of the shape of the weight: what is kept."""
    mask = getattr(module, f"{name}_mask", None)
    weight = trained_weight(module) if name == "weight" else getattr(module, name)
    return torch.ones_like(weight, dtype=torch.bool) if mask is None else mask.bool()


def set_mask(module: nn.Module, mask: Tensor, name: str = "weight") -> None:
    """Puts the mask on the layer, as ``torch.nn.utils.prune.custom_from_mask`` does, in place of the one before."""
    old = getattr(module, f"{name}_mask", None)
    if old is None:
        prune.custom_from_mask(module, name, mask)
        return
    with torch.no_grad():
        old.copy_(mask)
    setattr(module, name, getattr(module, f"{name}_orig") * old)


def apply_masks(model: nn.Module) -> nn.Module:
    """Makes all masks permanent, in place: zeros are written into the weights and the hooks of pruning go.

    Returns:
        ``model``.
    """
    for module in model.modules():
        for name in [key.removesuffix("_mask") for key in module._buffers if key.endswith("_mask")]:
            if f"{name}_orig" in module._parameters:
                prune.remove(module, name)
    return model
