"""search: a method for each layer, at the least cost above a floor of quality, from a table of sensitivities."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from torch import nn

from .conversion import copy_pruned
from .costs import Cost, cost_of
from .layers import apply_masks
from .methods import Method, compressed, methods_of
from .sensitivity import Cell, Metric, Sensitivity, quality_of

CHOICE = "_greenkernels_methods"


def search(
    model: nn.Module,
    metric: Metric,
    found: Sensitivity,
    *,
    floor: float,
    methods: Iterable[str] | Mapping[str, Method] | None = None,
    budget: float = 0,
    cost: Cost | None = None,
) -> nn.Module:
    """A copy of a network with a method for each layer that the table speaks for: zeros, bits or kernel, untrained.

    Layers alone tell little of layers together, so the table only gives the order: the step that loses least for what
    it saves, in cost if the table has costs and else in bytes, comes first, is tried on the network as it is by then,
    and stays if it makes the cost less and the quality keeps to the floor. Each step takes one call of the metric.

    Args:
        model: the network that ``found`` is of, in eval mode; it is not changed.
        metric: as for `sensitivity`.
        found: its result.
        floor: least quality of the result.
        methods: those of ``found``, if they were functions of your own.
        budget: bytes of weights, or what ``cost`` counts, at which the search ends; 0 to go as low as the floor allows.
        cost: what the budget is of: `measured_seconds`, `modelled_joules`, or a function of a network of your own, best
            the one that ``found`` was made with. Default: bytes of weights.

    Returns:
        The network; `chosen_methods` says which method each layer got.

    Raises:
        ValueError: the network is below the floor as it is, the budget cannot be kept above it, or ``cost`` gives no
            finite number.
    """
    if found.quality < floor:
        raise ValueError(
            f"search: floor must be at most the quality {found.quality:.6g} of the network, got {floor}"
        )
    made = methods_of(found.methods if methods is None else methods)
    stock = apply_masks(copy_pruned(model))
    picked: dict[str, Cell] = {}
    best = copy.deepcopy(stock)
    spent = _bytes(found, picked) if cost is None else cost_of(cost, best.eval(), "search")
    for cell in _steps(found):
        if spent <= budget or (
            cell.layer in picked and _saved(found, cell) <= _saved(found, picked[cell.layer])
        ):
            continue
        tried = picked | {cell.layer: cell}
        made_of = copy.deepcopy(stock)
        for layer, step in tried.items():
            made_of = compressed(made_of, layer, made[step.method])
        costs = _bytes(found, tried) if cost is None else cost_of(cost, made_of.eval(), "search")
        if costs < spent and quality_of(metric, made_of.eval(), f"{cell.layer} with {cell.method}") >= floor:
            picked, best, spent = tried, made_of, costs
    if budget and spent > budget:
        least = f"{spent} bytes" if cost is None else f"{spent:.6g}"
        raise ValueError(f"search: budget must be at least {least} for a quality of {floor}, got {budget}")
    setattr(best, CHOICE, {layer: cell.method for layer, cell in picked.items()})
    return best


def chosen_methods(model: nn.Module) -> dict[str, str]:
    """Layer -> method of a network that `search` made; layers that stayed as they were are not in it.

    Raises:
        ValueError: the network does not come from `search`.
    """
    found = getattr(model, CHOICE, None)
    if found is None:
        raise ValueError(f"chosen_methods: model must come from search, got a plain {type(model).__name__}")
    return found


def _saved(found: Sensitivity, cell: Cell) -> float:
    """Of cost, if the table has costs, else of bytes of weights."""
    if found.cost is not None:
        return found.cost - cell.cost
    return found.weight_bytes[cell.layer] - cell.bytes


def _steps(found: Sensitivity) -> list[Cell]:
    """Cells that save something, the least loss for it first."""

    def loss_of_a_unit(cell: Cell) -> tuple[float, float]:
        saved = _saved(found, cell)
        return max(0.0, found.quality - cell.quality) / saved, -saved

    return sorted(
        (c for c in found.cells if c.quality is not None and _saved(found, c) > 0), key=loss_of_a_unit
    )


def _bytes(found: Sensitivity, picked: Mapping[str, Cell]) -> int:
    return sum(picked[layer].bytes if layer in picked else size for layer, size in found.weight_bytes.items())
