"""Copies of what a contender computes with: the same call on weights of its own, for runs that rotate over copies.

Weights stand in modules, in arguments that a partial holds, or in what a nested function took from around it. All of
them are copied, so that no two copies share memory; what may hold weights and cannot be looked into is not copied.
"""

from __future__ import annotations

import copy
import enum
import types
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .contender import Contender

# What holds no weights: taken over as it is.
PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type, enum.Enum, range, slice),
    *(
        torch.dtype,
        torch.device,
        torch.layout,
        torch.memory_format,
        types.ModuleType,
        types.BuiltinFunctionType,
    ),
    *(torch._ops.OpOverload, torch._ops.OpOverloadPacket),
)


class CannotCopy(TypeError):
    """Something may hold weights, and nobody here knows how to copy it."""


def with_copies(contender: Contender) -> Contender:
    """The contender with a `fresh` that copies its weights; as it is where it has one, or where that cannot be."""
    if contender.fresh is not None or contender.timer is not None:
        return contender
    try:
        copied(contender.call)
    except Exception:  # a foreign module may fail to be copied in any way: it stays out, as it would have
        return contender

    def fresh() -> Contender:
        return replace(contender, call=copied(contender.call))

    return replace(contender, fresh=fresh)


def copied(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call on tensors and modules of its own.

    Raises:
        CannotCopy: part of it is of a kind that is not known here.
    """
    with torch.inference_mode(False), torch.no_grad():
        return _Walk({}).copy(call)


def tensors_held(call: Callable[..., Any]) -> list[Tensor]:
    """Every tensor that the call holds, each once; none where it cannot be looked into."""
    memo: dict[int, Any] = {}
    walk = _Walk(memo, keep=True)
    try:
        walk.copy(call)
    except CannotCopy:
        return []
    return list({id(tensor): tensor for tensor in walk.tensors}.values())


class _Walk:
    """Through a call and all that it refers to. Shared parts stay shared; `keep` notes tensors and copies none."""

    def __init__(self, memo: dict[int, Any], keep: bool = False) -> None:
        self.memo, self.keep, self.tensors = memo, keep, []

    def copy(self, value: Any) -> Any:
        if id(value) not in self.memo:
            self.memo[id(value)] = self.made(value)
        return self.memo[id(value)]

    def made(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            self.tensors += [*value.parameters(), *value.buffers()]
            return value if self.keep else copy.deepcopy(value)
        if isinstance(value, Tensor):
            self.tensors.append(value)
            return value if self.keep else value.detach().clone()
        if isinstance(value, torch.ScriptObject):
            return value if self.keep else copy.deepcopy(value)
        if isinstance(value, partial):
            keywords = {name: self.copy(part) for name, part in value.keywords.items()}
            return partial(self.copy(value.func), *map(self.copy, value.args), **keywords)
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, self.copy(value.__self__))
        if isinstance(value, types.FunctionType):
            return self.function(value)
        return self.container(value)

    def function(self, value: types.FunctionType) -> types.FunctionType:
        """A nested function with cells of its own; one of a module as it is."""
        if not value.__closure__:
            return value
        cells = tuple(types.CellType(self.copy(cell.cell_contents)) for cell in value.__closure__)
        made = types.FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, cells
        )
        made.__kwdefaults__ = value.__kwdefaults__
        return made

    def container(self, value: Any) -> Any:
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.copy, value))
        if type(value) in (tuple, list, set, frozenset, torch.Size):
            return type(value)(map(self.copy, value))
        if type(value) is dict:
            return {key: self.copy(part) for key, part in value.items()}
        if isinstance(value, PLAIN):
            return value
        raise CannotCopy(f"cannot copy a {type(value).__name__}, which may hold weights")


def nbytes(tensor: Tensor) -> int:
    """Of its elements; of a sparse one, those of its parts."""
    if tensor.layout is torch.sparse_csr:
        return sum(part.nbytes for part in (tensor.crow_indices(), tensor.col_indices(), tensor.values()))
    return tensor.numel() * tensor.element_size()
