"""Finds what follows a convolution in a graph, node by node: a batch norm, an addition, an activation.

A step belongs to the chain only if the value before it goes nowhere else, so that it need not exist.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from ..fusion import activation_kind, has_hooks

NORM, ADD, ACTIVATION = "norm", "add", "activation"
ORDER = (NORM, ADD, ACTIVATION)  # in which the modules of this package compute them

_ADDS = {operator.add: False, operator.iadd: True, torch.add: False, "add": False, "add_": True}
_ACTIVATIONS: dict[Any, str] = {
    **dict.fromkeys((F.relu, torch.relu, F.relu_, torch.relu_, "relu", "relu_"), "relu"),
    F.relu6: "relu6",
    F.silu: "silu",
    F.gelu: "gelu",
    F.leaky_relu: "leaky_relu",
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid", "sigmoid_"), "sigmoid"),
    **dict.fromkeys((torch.tanh, F.tanh, "tanh", "tanh_"), "tanh"),
    F.hardswish: "hardswish",
    F.hardsigmoid: "hardsigmoid",
}
_IN_PLACE = [
    getattr(operator, f"i{name}") for name in ("add", "sub", "mul", "truediv", "floordiv", "pow", "matmul")
]
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout)


@dataclass
class Step:
    """One node of a chain.

    Attributes:
        role: `NORM`, `ADD` or `ACTIVATION`.
        node: where it is computed.
        other: what is added; None for other roles.
        kind, param: of an activation, as the ops know it.
        skipped: nodes between this step and the one before that pass their input on.
    """

    role: str
    node: fx.Node
    other: fx.Node | None = None
    kind: str = ""
    param: float | None = None
    skipped: tuple[fx.Node, ...] = ()


def chain_behind(node: fx.Node, root: nn.Module, may_add: Callable[[fx.Node, fx.Node], bool]) -> list[Step]:
    """The steps behind the call of a convolution, in the order of `ORDER`, each at most once.

    Args:
        node: the call.
        root: the module whose graph it is.
        may_add: whether the second value has the shape and type of the first.
    """
    steps: list[Step] = []
    value, rank = node, 0
    while rank < len(ORDER):
        value, skipped = past_nothing(value, root)
        after = only_user(value)
        step = None if after is None else _step(after, value, root, may_add)
        if step is None or ORDER.index(step.role) < rank:
            break
        if changed_between(node, after, root):
            break
        step.skipped = skipped
        steps.append(step)
        value, rank = after, ORDER.index(step.role) + 1
    return steps


def only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def past_nothing(value: fx.Node, root: nn.Module) -> tuple[fx.Node, tuple[fx.Node, ...]]:
    """The value behind dropouts and identities, which in eval mode pass it on."""
    skipped = []
    while (after := only_user(value)) is not None and passes_on(after, root):
        skipped.append(after)
        value = after
    return value, tuple(skipped)


def passes_on(node: fx.Node, root: nn.Module) -> bool:
    """Whether the node gives its first argument as it is, in eval mode."""
    if node.op == "call_module":
        module = root.get_submodule(node.target)
        return type(module) in NOTHING and not has_hooks(module) and len(node.args) == 1 and not node.kwargs
    if node.op != "call_function" or node.target not in _DROPOUTS:
        return False
    training = node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True)
    return training is False


def _step(node: fx.Node, value: fx.Node, root: nn.Module, may_add: Callable[..., bool]) -> Step | None:
    if node.op == "call_module" and node.args == (value,) and not node.kwargs:
        module = root.get_submodule(node.target)
        if has_hooks(module):
            return None
        if type(module) is nn.BatchNorm2d and module.running_mean is not None and not module.training:
            return Step(NORM, node)
        kind = activation_kind(module)
        return Step(ACTIVATION, node, kind=kind[0], param=kind[1]) if kind else None
    if node.op not in ("call_function", "call_method"):
        return None
    if node.target in _ADDS:
        other = _added(node, value)
        return Step(ADD, node, other) if other is not None and may_add(value, other) else None
    return _activation(node, value)


def _added(node: fx.Node, value: fx.Node) -> fx.Node | None:
    """The other operand; None where it is a number, the same value, or what is added to in place."""
    if len(node.args) != 2 or node.kwargs or not all(isinstance(a, fx.Node) for a in node.args):
        return None
    first, second = node.args
    if first is second or (_ADDS[node.target] and first is not value):
        return None
    return second if first is value else first


def _activation(node: fx.Node, value: fx.Node) -> Step | None:
    kind = _ACTIVATIONS.get(node.target)
    options = {name: option for name, option in node.kwargs.items() if name != "inplace"}
    if kind is None or node.args[:1] != (value,):
        return None
    rest = node.args[1:]
    if kind == "leaky_relu":
        slope = rest[0] if rest else options.pop("negative_slope", 0.01)
        plain = isinstance(slope, (int, float)) and not options
        return Step(ACTIVATION, node, kind=kind, param=float(slope)) if plain else None
    if kind == "gelu" and options == {"approximate": "none"}:
        options = {}
    if options or (rest and kind != "relu"):
        return None
    return Step(ACTIVATION, node, kind=kind)


def changed_between(node: fx.Node, end: fx.Node, root: nn.Module) -> bool:
    """Whether the input of `node` may be written to before `end`, where `node` would be computed instead."""
    between = node.next
    while between is not end:
        if node.args[0] in between.args and _writes(between, root):
            return True
        between = between.next
    return False


def _writes(node: fx.Node, root: nn.Module) -> bool:
    """Whether the call may write to its arguments: by its name, by an option, or a module that has such an option."""
    if node.op == "call_module":
        return any(getattr(m, "inplace", False) for m in root.get_submodule(node.target).modules())
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place = (name.endswith("_") and not name.endswith("__")) or node.target in _IN_PLACE
    return in_place or bool(node.kwargs.get("inplace")) or "out" in node.kwargs
