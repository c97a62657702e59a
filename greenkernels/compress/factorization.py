"""factorize: a network whose layers are products of smaller ones, within a budget of operations or modelled joules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..energy.breakdown import estimate
from ..energy.hardware_table import DEFAULT
from ..energy.network import arguments, require_eval
from ..report.tables import text_table
from .conversion import copy_pruned
from .factors import FORMS
from .layers import Layers, apply_masks, prunable
from .rank_choice import Choice, choose

COSTS = ("flops", "energy")
GRID = 16  # ranks that are tried of each form: so many parts of the largest
REPORT = "_greenkernels_factorization"
# Parents that read the weight of a child in the place of calling it.
READ_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@dataclass(frozen=True)
class FactoredLayer:
    """One layer that was looked at; it stays stock where ``form`` is "stock".

    Attributes:
        cost, cost_before: operations (a multiply-add is 2) or modelled joules of its calls.
        weight_error: ``||W' - W|| / ||W||``.
        output_error: ``||y' - y|| / ||y||`` on what the layer saw in the given inputs, before retraining.
    """

    name: str
    kind: str
    form: str
    ranks: tuple[int, ...]
    cost_before: float
    cost: float
    weight_error: float
    output_error: float


@dataclass(frozen=True)
class Factorization:
    """What `factorize` did; prints as a table.

    Attributes:
        layers: those with a form, in the order of the network.
        cost: "flops" or "energy".
        error: relative error of the network's output on the given inputs, before retraining.
    """

    layers: tuple[FactoredLayer, ...]
    cost: str
    error: float

    @property
    def share(self) -> float:
        """Cost of these layers after, over that before."""
        before = sum(layer.cost_before for layer in self.layers)
        return sum(layer.cost for layer in self.layers) / before if before else 1.0

    def __str__(self) -> str:
        unit, scale = ("MFLOP", 1e-6) if self.cost == "flops" else ("mJ, modelled", 1e3)
        head = ("layer", "", "form", "ranks", f"{unit} before", "after", "weight error", "output error")
        rows = [
            (
                layer.name or "(model)",
                layer.kind,
                layer.form,
                "x".join(map(str, layer.ranks)) or "-",
                f"{layer.cost_before * scale:.4g}",
                f"{layer.cost * scale:.4g}",
                f"{layer.weight_error:.3g}",
                f"{layer.output_error:.3g}",
            )
            for layer in self.layers
        ]
        table = text_table(head, rows, right=(4, 5, 6, 7))
        said = f"{self.share:.1%} of the {self.cost}; error of the output before retraining {self.error:.3g}"
        return f"{table}\n{said}"


def factorize(
    model: nn.Module,
    inputs: Any,
    *,
    budget: float,
    forms: Iterable[str] = ("low-rank", "tucker", "depthwise"),
    cost: str = "flops",
    layers: Layers = None,
    hardware: str = DEFAULT,
) -> nn.Module:
    """A copy of a trained network in which chains of smaller layers stand in for large ones; train it on a little.

    Form and ranks of each layer are those that keep to the budget at the least sum of squared relative errors of the
    weights. The chains are stock layers, so prune, plan or factor them further. `factorization` says what was done,
    with the errors before retraining.

    Args:
        model: in eval mode; its masks become permanent.
        inputs: one call: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        budget: share of the cost of the layers below that they may have afterwards, above 0, at most 1.
        forms: any of those of `factor`.
        cost: "flops", or "energy", modelled for ``hardware``.
        layers: ``nn.Linear`` and ``nn.Conv2d`` by name, or a function of name and module; None for all.
        hardware: table of the energy model.

    Raises:
        ValueError: an argument has none of these values, the budget cannot be kept, or the model is in training mode.
    """
    forms = tuple(forms)
    _check(budget, forms, cost)
    require_eval(model, "factorize")
    small = apply_masks(copy_pruned(model))
    seen = _inputs_of(small, _candidates(small, layers), inputs)
    options = {
        name: _choices(small.get_submodule(name), calls, forms, cost, hardware)
        for name, calls in seen.items()
    }
    whole = sum(choices[0].cost for choices in options.values())
    picked = dict(zip(options, choose(list(options.values()), budget * whole), strict=True))
    rows = [
        _row(name, small.get_submodule(name), options[name][0].cost, choice, seen[name])
        for name, choice in picked.items()
    ]
    before = _call(small, inputs)
    for name, choice in picked.items():
        if choice.made is not None:
            small = _put(small, name, choice.made)
    report = Factorization(tuple(rows), cost, _relative(_call(small, inputs), before))
    setattr(small, REPORT, report)
    return small


def factorization(model: nn.Module) -> Factorization:
    """What `factorize` did to a network.

    Raises:
        ValueError: the network does not come from `factorize`.
    """
    report = getattr(model, REPORT, None)
    if not isinstance(report, Factorization):
        raise ValueError(f"factorization: model must come from factorize, got a plain {type(model).__name__}")
    return report


def _check(budget: float, forms: tuple[str, ...], cost: str) -> None:
    if not 0 < budget <= 1:
        raise ValueError(f"factorize: budget must be above 0 and at most 1, got {budget}")
    if cost not in COSTS:
        raise ValueError(f"factorize: cost must be one of {', '.join(COSTS)}, got {cost!r}")
    for form in forms:
        if form not in FORMS:
            raise ValueError(f"factorize: forms must be among {', '.join(FORMS)}, got {form!r}")


def _candidates(model: nn.Module, layers: Layers) -> dict[str, nn.Module]:
    """Layers that are called, not read, by whom they belong to."""
    read = {
        id(child)
        for parent in model.modules()
        if isinstance(parent, READ_WEIGHTS)
        for child in parent.modules()
    }
    found = prunable(model, layers)
    return {name: m for name, m in found.items() if type(m) in (nn.Linear, nn.Conv2d) and id(m) not in read}


def _inputs_of(model: nn.Module, layers: dict[str, nn.Module], inputs: Any) -> dict[str, list[Tensor]]:
    """What each layer is called with; layers that are not called are left out."""
    seen: dict[str, list[Tensor]] = defaultdict(list)
    handles = []
    for name, layer in layers.items():

        def keep(_: nn.Module, args: tuple[Any, ...], name: str = name) -> None:
            seen[name].append(args[0].detach())

        handles.append(layer.register_forward_pre_hook(keep))
    try:
        _call(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: seen[name] for name in layers if name in seen}


@torch.no_grad()
def _call(model: nn.Module, inputs: Any) -> Any:
    args, kwargs = arguments(inputs)
    return model(*args, **kwargs)


def _choices(
    layer: nn.Module, calls: list[Tensor], forms: tuple[str, ...], cost: str, hardware: str
) -> list[Choice]:
    """The stock layer, and what is cheaper."""
    stock = Choice(_cost(layer, calls, cost, hardware), 0.0)
    found = [stock]
    for form in forms:
        try:
            largest = FORMS[form].largest(layer)
        except ValueError:
            continue  # this layer has no such form
        build = FORMS[form].decompose(layer)
        for ranks in sorted(
            {tuple(-(-most * part // GRID) for most in largest) for part in range(1, GRID + 1)}
        ):
            made = build(ranks)
            choice = Choice(_cost(made, calls, cost, hardware), made.weight_error, made)
            if choice.cost >= stock.cost:
                break  # larger ranks cost more
            found.append(choice)
    return found


def _cost(layer: nn.Module, calls: list[Tensor], cost: str, hardware: str) -> float:
    total = 0.0
    for x in calls:
        found = estimate(layer, x, hardware)
        total += found.tally().total.flops if cost == "flops" else found.energy_j.value
    return total


def _row(name: str, layer: nn.Module, before: float, choice: Choice, calls: list[Tensor]) -> FactoredLayer:
    made = choice.made
    if made is None:
        return FactoredLayer(name, type(layer).__name__, "stock", (), before, before, 0.0, 0.0)
    outputs = [_call(module, (x,)) for module in (layer, made) for x in calls]
    error = _relative(outputs[len(calls) :], outputs[: len(calls)])
    return FactoredLayer(
        name, type(layer).__name__, made.form, made.ranks, before, choice.cost, made.weight_error, error
    )


def _relative(got: Any, want: Any) -> float:
    """``||got - want|| / ||want||`` over all tensors in them."""
    pairs = list(zip(_tensors(got), _tensors(want), strict=True))
    off = sum(float((g.double() - w.double()).square().sum()) for g, w in pairs)
    whole = sum(float(w.double().square().sum()) for _, w in pairs)
    return (off / whole) ** 0.5 if whole else 0.0


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, dict):
        value = value.values()
    return [t for part in value for t in _tensors(part)] if isinstance(value, Iterable) else []


def _put(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """In every place where the layer stands."""
    old = model.get_submodule(name)
    if old is model:
        return module
    for parent in list(model.modules()):
        for key, child in list(parent._modules.items()):  # named_children has each child once
            if child is old:
                setattr(parent, key, module)
    return model
