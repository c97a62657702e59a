"""What one torch operation does: rules by name of the operation, for whatever is no layer that `counts` knows.

The rules stand in `op_rules` and, for this package's own operations, in `kernels`: files found by themselves.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from .counts import Counted, Counts, Uncounted, dtype_name


@dataclass(frozen=True)
class Op:
    """One executed operation.

    Attributes:
        func: the operator with its overload.
        args, kwargs: as it was called.
        out: what it returned.
        weights: addresses of storages that hold weights.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    weights: Collection[int] = frozenset()

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Name in the schema -> value, defaults included."""
        schema = self.func._schema.arguments
        values = {a.name: a.default_value for a in schema if a.has_default_value()}
        positional = [a.name for a in schema if not a.kwarg_only]
        return values | dict(zip(positional, self.args, strict=False)) | self.kwargs

    @property
    def inputs(self) -> list[Tensor]:
        return list(tensors((self.args, self.kwargs)))

    @property
    def outputs(self) -> list[Tensor]:
        return list(tensors(self.out))

    @property
    def elements(self) -> int:
        """Elements of the first output."""
        return self.outputs[0].numel()

    @property
    def dtype(self) -> str:
        """What it computes in: the type of the first floating-point input, else that of the first tensor."""
        candidates = [*self.inputs, *self.outputs]
        floating = [t for t in candidates if t.dtype.is_floating_point]
        return dtype_name((floating or candidates)[0].dtype) if candidates else "float32"

    def work(self, flops: int, reads: Sequence[Tensor] | None = None) -> Counts:
        """Counts with every distinct input (or ``reads``) and output once."""
        inputs = distinct(self.inputs if reads is None else reads)
        weights = [t for t in inputs if t.untyped_storage().data_ptr() in self.weights]
        read, written, weight = (sum(map(occupied, part)) for part in (inputs, self.outputs, weights))
        return Counts(flops, read, written, weight, self.dtype)


# An int is operations, with all inputs read and all outputs written; several counts are of different types.
OpRule = Callable[[Op], "Counts | int | tuple[Counts, ...]"]
_RULES: dict[str, OpRule] = {}


def op_rule(*names: str) -> Callable[[OpRule], OpRule]:
    """Registers a rule for operations by name, ``aten::`` if none is given; it holds for all overloads."""

    def register(function: OpRule) -> OpRule:
        _RULES.update({name if "::" in name else f"aten::{name}": function for name in names})
        return function

    return register


@cache
def op_rules() -> dict[str, OpRule]:
    """Name -> rule, from every file in ``op_rules`` and ``kernels``."""
    from . import kernels
    from . import op_rules as stock

    for folder in (stock, kernels):
        for info in pkgutil.iter_modules(folder.__path__):
            importlib.import_module(f".{info.name}", folder.__name__)
    return _RULES


def has_rule(func: Any) -> bool:
    return func._schema.name in op_rules() or func.is_view


def count_op(op: Op) -> tuple[Counted, ...]:
    """The work of an executed operation, for each type that it computes in; or None with the reason."""
    name = op.func._schema.name
    if op.func.is_view:
        return (Counted(Counts(0, 0, 0, 0, op.dtype)),)  # exactly nothing is computed or moved
    found = op_rules().get(name)
    if found is None:
        return (Counted(None, f"{name}: no counting rule"),)
    if any(t.layout is not torch.strided for t in (*op.inputs, *op.outputs)):
        return (Counted(None, f"{name}: sparse tensors have no counting rule"),)
    try:
        result = found(op)
        whole = op.work(result) if isinstance(result, int) else result
        return tuple(map(Counted, whole if isinstance(whole, tuple) else (whole,)))
    except Uncounted as reason:
        return (Counted(None, f"{name}: {reason}"),)
    except Exception as problem:  # the work that is metered must not fail for its count
        return (Counted(None, f"{name}: its counting rule fails on this call: {problem!r}"),)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))


def distinct(found: Sequence[Tensor]) -> list[Tensor]:
    """Without repetitions of the same memory in the same shape."""
    return list({(t.data_ptr(), t.shape, t.stride()): t for t in found}.values())


def occupied(tensor: Tensor) -> int:
    """Bytes of memory that the elements take; an expanded tensor repeats its elements without taking more."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
