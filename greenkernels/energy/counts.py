"""What one call of a layer does: operations and compulsory bytes, by a rule for each class of torch.nn.

The rules stand in `layer_rules`, one file a family; a module of this package counts itself by a method
``counts(*input_shapes)``. What no rule covers is not counted and says why: never 0.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .links import Transfer
from .reuse import Stream


@dataclass(frozen=True)
class Counts:
    """Work of one call. Sums over calls and layers with ``+``.

    Attributes:
        flops: operations. A multiply-add is 2; an addition, a comparison and a special function (exp, tanh, erf, sqrt,
            division) are 1 each. Products with the zeros of a padding count, as the direct algorithm computes them.
        bytes_read: every input and weight element once, however often a kernel reads it from caches.
        bytes_written: every output element once.
        weight_bytes: the part of ``bytes_read`` that is weights, in the form the kernel reads (packed, transformed).
        dtype: what the operations compute in, by torch's name.
        streams: arrays that the kernel goes through again; they do not make two counts differ.
        transfers: bytes that leave the device, and by which way; nor do these.
        maps: bytes without weights of each call that was added up; default: those of the one call.

    Bytes are compulsory traffic: what a kernel with an unlimited cache would still move. Intermediate results are not
    in it. `moved` adds what a cache of a given size does not keep.
    """

    flops: int
    bytes_read: int
    bytes_written: int
    weight_bytes: int
    dtype: str = "float32"
    streams: tuple[Stream, ...] = field(default=(), compare=False)
    transfers: tuple[Transfer, ...] = field(default=(), compare=False)
    maps: tuple[int, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", tuple(Stream(*stream) for stream in self.streams))
        object.__setattr__(self, "transfers", tuple(Transfer(*transfer) for transfer in self.transfers))
        for name in ("flops", "bytes_read", "bytes_written", "weight_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"Counts: {name} must not be negative, got {getattr(self, name)}")
        if self.weight_bytes > self.bytes_read:
            raise ValueError(
                f"Counts: weight_bytes must be part of bytes_read, got {self.weight_bytes} of {self.bytes_read}"
            )
        object.__setattr__(self, "maps", tuple(self.maps) or (self.bytes - self.weight_bytes,))

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    def moved(self, capacity: int, network_weights: int | None = None) -> int:
        """Bytes that pass a cache of that many bytes, to and from the levels below.

        Args:
            capacity: of the cache.
            network_weights: bytes of all weights of a network that is called again and again: what fits is still there
                from the call before, as is the output of the layer before. None: nothing was in the caches.
        """
        again = sum(stream.again(capacity, cold=network_weights is None) for stream in self.streams)
        if network_weights is None:
            return self.bytes + again
        weights = self.weight_bytes if network_weights > capacity else 0
        return sum(size for size in self.maps if size > capacity) + weights + again

    def __add__(self, other: Counts) -> Counts:
        """The sum. Raises ValueError where both compute, in different types: their operations cost different joules."""
        if not isinstance(other, Counts):
            return NotImplemented
        if self.flops and other.flops and self.dtype != other.dtype:
            raise ValueError(
                f"Counts: cannot add operations in {self.dtype} and {other.dtype}; add their joules"
            )
        return Counts(
            self.flops + other.flops,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.weight_bytes + other.weight_bytes,
            self.dtype if self.flops or not other.flops else other.dtype,
            self.streams + other.streams,
            self.transfers + other.transfers,
            self.maps + other.maps,
        )

    def __mul__(self, calls: int) -> Counts:
        """The work of that many calls."""
        return Counts(
            self.flops * calls,
            self.bytes_read * calls,
            self.bytes_written * calls,
            self.weight_bytes * calls,
            self.dtype,
            tuple(stream._replace(bytes=stream.bytes * calls) for stream in self.streams),
            tuple(transfer._replace(bytes=transfer.bytes * calls) for transfer in self.transfers),
            self.maps * calls,
        )


class Counted(NamedTuple):
    """Counts, or None and the reason why there are none."""

    counts: Counts | None
    reason: str = ""


class Uncounted(Exception):
    """Raised by a rule for a case that it does not cover; the text is the reason."""


class Call(NamedTuple):
    """What a rule is told about a call: the shapes of the inputs and the type of their elements."""

    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    @property
    def input(self) -> tuple[int, ...]:
        return self.shapes[0]

    @property
    def name(self) -> str:
        return dtype_name(self.dtype)

    def work(
        self, flops: int, output: int, weights: Sequence[Tensor | None] = (), inputs: int = -1
    ) -> Counts:
        """Counts from operations, output elements, weights, and input elements (default: those of all shapes)."""
        elements = sum(math.prod(shape) for shape in self.shapes) if inputs < 0 else inputs
        size, weight_bytes = self.dtype.itemsize, sum(tensor_bytes(weight) for weight in weights)
        return Counts(flops, elements * size + weight_bytes, output * size, weight_bytes, self.name)


Rule = Callable[[Any, Call], Counts]
_RULES: dict[type[nn.Module], Rule] = {}


def rule(*classes: type[nn.Module]) -> Callable[[Rule], Rule]:
    """Registers the counting rule of these classes (not of their subclasses, which may compute something else)."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(classes, function))
        return function

    return register


@cache
def layer_rules() -> dict[type[nn.Module], Rule]:
    """Class -> rule, from every file in ``layer_rules``."""
    from . import layer_rules as folder

    for info in pkgutil.iter_modules(folder.__path__):
        importlib.import_module(f".{info.name}", folder.__name__)
    return _RULES


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` and the like."""
    return str(dtype).removeprefix("torch.")


def tensor_bytes(tensor: Tensor | None) -> int:
    """Size of a tensor's elements; 0 for one that is not there."""
    return 0 if tensor is None else tensor.numel() * tensor.element_size()


def count(module: nn.Module, *input_shapes: Sequence[int], dtype: torch.dtype | None = None) -> Counted:
    """The work of one call of a layer.

    Args:
        module: a layer; for a container of layers use `greenkernels.energy.estimate`.
        *input_shapes: shape of each tensor argument. Self-attention with one tensor takes one shape.
        dtype: of the inputs; default: that of the module's first floating-point weight, else float32.

    Returns:
        The counts, or None with the reason: no rule for this class, a subclass, an option that the rule lacks.

    Raises:
        ValueError: no shape is given.
    """
    if not input_shapes:
        raise ValueError("count: needs the shape of each input, got none")
    shapes = tuple(tuple(int(size) for size in shape) for shape in input_shapes)
    own = getattr(module, "counts", None)
    try:
        if callable(own) and isinstance(counts := own(*shapes), Counts):
            return Counted(counts)
        found = layer_rules().get(type(module))
        if found is None:
            return Counted(None, _why_no_rule(module))
        return Counted(found(module, Call(shapes, dtype or _dtype_of(module))))
    except Uncounted as reason:
        return Counted(None, f"{type(module).__name__}: {reason}")


def _dtype_of(module: nn.Module) -> torch.dtype:
    floats = (p.dtype for p in module.parameters() if p.dtype.is_floating_point)
    return next(floats, torch.float32)


def _why_no_rule(module: nn.Module) -> str:
    name = type(module).__name__
    for base in type(module).__mro__[1:]:
        if base in layer_rules():
            return f"{name}: a subclass of {base.__name__} may compute something else"
    return f"{name}: no counting rule"
