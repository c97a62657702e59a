"""The forward of one module as a torch.fx graph, its children as leaves; None for whatever does not trace."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize


class _Tracer(fx.Tracer):
    """Traces a call with a given number of positional tensors; other parameters take their defaults."""

    def __init__(self, arity: int) -> None:
        super().__init__()
        self.arity = arity

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        names = list(inspect.signature(root_fn).parameters)[1 : self.arity + 1]
        return root_fn, [self.root, *(self.create_proxy("placeholder", name, (), {}) for name in names)]


def trace(module: nn.Module, arity: int) -> fx.Graph | None:
    """The graph of ``module(*tensors)`` with `arity` tensors.

    None where the forward branches on values or shapes, takes its arguments in another way, changes the module, or is
    not the class's own.
    """
    if not _is_traceable(module, arity):
        return None
    attributes, before = module.__dict__.copy(), _state(module)
    try:
        graph = _Tracer(arity).trace(module)
        graph.lint()
        unchanged = _state(module) == before
    except Exception:  # a user's code, run on stand-ins for tensors: anything may come out of it
        graph, unchanged = None, _state(module) == before
    if unchanged:
        return graph
    module.__dict__.clear()
    module.__dict__.update(attributes)
    return None


def _is_traceable(module: nn.Module, arity: int) -> bool:
    kind = type(module)
    if kind.__module__.startswith("torch.nn.") or isinstance(
        module, (torch.jit.ScriptModule, fx.GraphModule)
    ):
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
