"""From a pruned network to layers that store and multiply the nonzeros alone, and from its file back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..nn import SparseConv2d, SparseLinear
from ..nn.conversion import conv_arguments
from ..nn.sparse_weight import PACKED_KEY, KeepsSparseWeight, pruned_weight
from .layers import apply_masks

AT_LEAST = 0.4  # share of zeros; docs/csr_matmul.md has the break-even points

# Stock class -> what stands in for it, and an empty one of the same sizes.
SPARSE: dict[type[nn.Module], tuple[Callable[..., nn.Module], Callable[[Any], nn.Module]]] = {
    nn.Linear: (
        SparseLinear.from_module,
        lambda stock: SparseLinear(
            stock.in_features, stock.out_features, stock.bias is not None, dtype=stock.weight.dtype
        ),
    ),
    nn.Conv2d: (
        SparseConv2d.from_module,
        lambda stock: SparseConv2d(**conv_arguments(stock) | {"device": stock.weight.device}),
    ),
}


def to_sparse(
    model: nn.Module, *, at_least: float = AT_LEAST, inplace: bool = False, **options: Any
) -> nn.Module:
    """A copy of a pruned network in which sparse layers stand in for the stock ones that have enough zeros.

    Masks become permanent everywhere. To replace only layers that get faster on this machine, call
    ``gk.compress.apply_masks`` and ``gk.plan`` instead.

    Args:
        model: Pruned by ``gk.compress.prune``, by ``torch.nn.utils.prune``, or with zeros written into its weights.
        at_least: Share of zeros from which a layer is replaced.
        inplace: Whether to change ``model`` itself.
        **options: Those of ``from_module``: ``batch``, ``strict``, ``warn``.

    Returns:
        The network; a layer of its own, if ``model`` is one that is replaced.
    """
    if not inplace:
        model = copy_pruned(model)
    made: dict[nn.Module, nn.Module] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if type(module) not in SPARSE or not isinstance(getattr(module, "weight", None), Tensor):
            continue
        if module not in made:
            _, kept = pruned_weight(module)
            if 1 - int(kept.sum()) / max(1, kept.numel()) < at_least:
                continue
            made[module] = SPARSE[type(module)][0](module, **_options_of(type(module), options))
        model = _put(model, name, made[module])
    return apply_masks(model)


def _options_of(kind: type[nn.Module], options: dict[str, Any]) -> dict[str, Any]:
    """Those that its sparse form has: a convolution has no batch to be packed for."""
    return {name: value for name, value in options.items() if name != "batch" or kind is nn.Linear}


def copy_pruned(model: nn.Module) -> nn.Module:
    """A deep copy; weights that a mask's hook computed belong to a graph, which cannot be copied, so they go first."""
    computed = []
    for module in model.modules():
        for name in [key.removesuffix("_orig") for key in module._parameters if key.endswith("_orig")]:
            if isinstance(module.__dict__.get(name), Tensor):
                computed.append((module, name, module.__dict__[name]))
                module.__dict__[name] = module.__dict__[name].detach()
    try:
        return copy.deepcopy(model)
    finally:
        for module, name, value in computed:
            module.__dict__[name] = value


def load_state(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Loads what a file of `greenkernels.save` holds into a network that is built the usual way, in place.

    Args:
        model: The dense network; layers whose weight the state has in packed form become sparse layers.
        state: Name -> tensor.

    Returns:
        ``model``, or the sparse layer if it is one itself.

    Raises:
        ValueError: the state has a sparse weight where the network has no layer that can have one.
        RuntimeError: as ``load_state_dict``.
    """
    for key in state:
        name, _, last = key.rpartition(".")
        if last != PACKED_KEY:
            continue
        stock = model.get_submodule(name)
        if isinstance(stock, KeepsSparseWeight):
            continue
        if type(stock) not in SPARSE:
            raise ValueError(
                f"load_state: {name!r} must be a layer with a sparse form, got {type(stock).__name__}"
            )
        model = _put(model, name, SPARSE[type(stock)][1](stock).train(stock.training))
    model.load_state_dict(state)
    return model


def _put(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    if not name:
        return module
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
    return model
