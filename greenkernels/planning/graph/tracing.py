"""The forward of one module as a torch.fx graph; None for whatever does not trace.

Its children are leaves, or, in a deep trace, the layers of torch and of this package in it, at any depth.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from ..fusion import has_hooks


class _Tracer(fx.Tracer):
    """Traces a call with a given number of positional tensors; other parameters take their defaults."""

    def __init__(self, arity: int, deep: bool) -> None:
        super().__init__()
        self.arity, self.deep = arity, deep

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return not self.deep or is_leaf(module)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        names = list(inspect.signature(root_fn).parameters)[1 : self.arity + 1]
        return root_fn, [self.root, *(self.create_proxy("placeholder", name, (), {}) for name in names)]


def trace(module: nn.Module, arity: int, deep: bool = False) -> fx.Graph | None:
    """The graph of ``module(*tensors)`` with `arity` tensors.

    None where the forward branches on values or shapes, takes its arguments in another way, changes a module, or is
    not the class's own. In a deep trace an nn.Sequential has a graph too, and children that are no `is_leaf` run
    in it.
    """
    if not _is_traceable(module, arity, deep):
        return None
    traced = list(module.modules()) if deep else [module]
    attributes, before = [m.__dict__.copy() for m in traced], [_state(m) for m in traced]
    try:
        graph = _Tracer(arity, deep).trace(module)
        for node in graph.nodes:
            node.type = None  # an annotation that is a string could not be imported
        graph.lint()
    except Exception:  # a user's code, run on stand-ins for tensors: anything may come out of it
        graph = None
    for m, own, state in zip(traced, attributes, before, strict=True):
        if _state(m) != state:
            graph = None
            m.__dict__.clear()
            m.__dict__.update(own)
    return graph


def is_leaf(module: nn.Module) -> bool:
    """Whether a deep trace calls the module as it is: layers of torch and of this package, and what does more than its
    class's forward says."""
    kind = type(module)
    if kind.__module__.startswith(("torch.nn.", "greenkernels.")) and kind is not nn.Sequential:
        return True
    special = isinstance(module, (torch.jit.ScriptModule, fx.GraphModule))
    return special or has_hooks(module) or parametrize.is_parametrized(module)


def _is_traceable(module: nn.Module, arity: int, deep: bool) -> bool:
    kind = type(module)
    layer = kind.__module__.startswith("torch.nn.") and not (deep and kind is nn.Sequential)
    if layer or isinstance(module, (torch.jit.ScriptModule, fx.GraphModule)):
        return False
    if "forward" in module.__dict__ or parametrize.is_parametrized(module):
        return False
    try:
        parameters = list(inspect.signature(kind.forward).parameters.values())[1:]
    except (TypeError, ValueError):
        return False
    named = [p for p in parameters[:arity] if p.kind is p.POSITIONAL_OR_KEYWORD]
    rest = parameters[arity:]
    return len(named) == arity > 0 and all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in rest
    )


def _state(module: nn.Module) -> list[tuple[str, int, Any]]:
    """Attributes by identity, and what containers among them hold."""
    return [(name, id(value), _held(value)) for name, value in module.__dict__.items()]


def _held(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return [(repr(key), id(item)) for key, item in value.items()]
    return [id(item) for item in value] if isinstance(value, (list, set, tuple)) else None
