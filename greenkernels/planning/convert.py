"""Puts a plan into a network, and takes it out again."""

from __future__ import annotations

from torch import nn

from .behind import build, join
from .candidates import named
from .carried import carry_back, carry_over
from .copying import copy_model, torch_state_kept
from .fusion import FusedAway
from .graph.rewriting import rewrite_containers, undo_rewriting
from .layout import CHANNELS_LAST, run_channels_last, undo_channels_last
from .plans import LayerPlan, Plan
from .refusals import require_plannable

PLAN_ATTRIBUTE = "greenkernels_plan"


def apply_plan(plan: Plan, model: nn.Module, inplace: bool = False) -> nn.Module:
    """See `Plan.apply`."""
    require_plannable(model, "apply")
    for layer in plan.replaced:
        _check_fits(layer, model)
    with torch_state_kept():
        result = model if inplace else copy_model(model)
        if plan.accepted:
            result = install(result, plan.layers, plan.memory_format, plan.strict)
    setattr(result, PLAN_ATTRIBUTE, plan)
    return result


def install(model: nn.Module, layers: list[LayerPlan], memory_format: str, strict: bool = False) -> nn.Module:
    """Replace the planned layers of `model` in place; returns the root, which is new if it was a layer itself."""
    for layer in layers:
        if layer.stem is None:
            continue
        stock, chain = model.get_submodule(layer.names[0]), layer.chain
        norm = model.get_submodule(chain.norm) if chain and chain.norm else None
        module = build(named(layer.stem), stock, layer.options, chain, norm).train(stock.training)
        carry_over(stock, module)
        if strict:
            module.strict = True
        for name in layer.names:
            model = put(model, name, module)
        if chain is not None and chain.container is None:
            act = chain.activation
            for slot in filter(None, (chain.norm, act.slot if act else None)):
                model = put(model, slot, FusedAway(model.get_submodule(slot)))
    for block in {layer.block for layer in layers if layer.block}:
        join([model.get_submodule(name) for name in block])
    rewrite_containers(model, layers)
    return run_channels_last(model) if memory_format == CHANNELS_LAST else model


def put(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Set the submodule of that name; the root is replaced by returning the new one."""
    if not name:
        return module
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
    return model


def _check_fits(layer: LayerPlan, model: nn.Module) -> None:
    for name in layer.names:
        try:
            found = repr(model.get_submodule(name))
        except AttributeError:
            found = "nothing"
        if found != layer.sizes:
            raise ValueError(f"apply: {name!r} must be the {layer.sizes} that was planned for, got {found}")


def explain(model: nn.Module) -> Plan:
    """The plan that `model` was converted by; it prints as a table.

    Raises:
        ValueError: the model does not come from `optimize` or `Plan.apply`.
    """
    plan = getattr(model, PLAN_ATTRIBUTE, None)
    if not isinstance(plan, Plan):
        raise ValueError(
            f"explain: model must come from gk.optimize or Plan.apply, got a plain {type(model).__name__}"
        )
    return plan


def restore(model: nn.Module, inplace: bool = False) -> nn.Module:
    """A copy of a converted network with stock modules again (`model` itself with ``inplace=True``).

    Weights are those of the converted network, so what was trained since stays.
    """
    result = model if inplace else copy_model(model)
    undo_rewriting(result)
    made: dict[nn.Module, nn.Module] = {}  # a module that stands in several places stays one module
    for name, module in list(result.named_modules(remove_duplicate=False)):
        if isinstance(module, FusedAway) or _is_ours(module):
            if module not in made:
                made[module] = _stock(module)
            result = put(result, name, made[module])
    undo_channels_last(result)
    result.__dict__.pop(PLAN_ATTRIBUTE, None)
    return result


def _is_ours(module: nn.Module) -> bool:
    return type(module).__module__.startswith("greenkernels.nn.") and hasattr(module, "to_module")


def _stock(module: nn.Module) -> nn.Module:
    """The stock module; of a fused pair the layer alone, since the activation returns to its own slot."""
    stock = module.to_module()
    stock = (stock[0] if isinstance(stock, nn.Sequential) else stock).train(module.training)
    carry_back(module, stock)
    return stock
