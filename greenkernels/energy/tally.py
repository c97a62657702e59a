"""Adds up the work of whatever runs, and keeps a list of what could not be counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import Parameter, is_lazy
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass_type

from ..nn.sharding import local
from .counts import Counted, Counts
from .hardware_table import DEFAULT, Hardware
from .model import NONE, Joules, NoFigureError, split_joules, storage_bytes
from .ops import Op, count_op, has_rule, tensors


@dataclass
class Tally:
    """Work in any number of types.

    Attributes:
        work: Counts for each dtype that was computed in.
        calls: what was counted: operations or layers.
        uncounted: reason -> number of calls that are not in ``work``.
    """

    work: dict[str, Counts] = field(default_factory=dict)
    calls: int = 0
    uncounted: Counter[str] = field(default_factory=Counter)

    def add(self, counted: Counted) -> None:
        if counted.counts is None:
            self.uncounted[counted.reason] += 1
            return
        self.calls += 1
        dtype = counted.counts.dtype
        if counted.counts.flops == counted.counts.bytes == 0 and not counted.counts.transfers:
            return  # known to be nothing: its type does not matter
        self.work[dtype] = self.work[dtype] + counted.counts if dtype in self.work else counted.counts

    def merge(self, other: Tally) -> None:
        for counts in other.work.values():
            self.add(Counted(counts))
        self.calls += other.calls - len(other.work)  # a sum was added as one call
        self.uncounted.update(other.uncounted)

    @property
    def total(self) -> Counts | None:
        """Operations of all types and bytes, for tables; None where nothing was counted."""
        if not self.calls:
            return None
        parts = self.work.values()
        names = ("flops", "bytes_read", "bytes_written", "weight_bytes")
        sums = (sum(getattr(part, name) for part in parts) for name in names)
        return Counts(*sums, dtype="+".join(sorted(self.work)) or "float32")

    def joules(
        self, hardware: str = DEFAULT, network_weights: int | None = None
    ) -> tuple[Joules | None, list[str]]:
        """Energy of what was counted, None if nothing was; and every reason why it is not all."""
        missing = [f"{reason} ({calls}x)" for reason, calls in self.uncounted.items()]
        parts = []
        for counts in self.work.values():
            try:
                parts.append(split_joules(counts, hardware=hardware, network_weights=network_weights))
            except NoFigureError as problem:
                missing.append(str(problem))
        known = bool(parts) or (self.calls > 0 and not self.work)  # what was counted may be exactly nothing
        return (sum(parts, NONE) if known else None), missing

    def storage_bytes(self, table: Hardware, network_weights: int | None = None) -> dict[str, float]:
        """Bytes at each level of storage, see `greenkernels.energy.model.storage_bytes`."""
        found: Counter[str] = Counter()
        for counts in self.work.values():
            found.update(storage_bytes(counts, table, network_weights))
        return dict(found)


def _has_memory(weight: Tensor) -> bool:
    return weight.layout is torch.strided and not is_lazy(weight)


class CountOperations(TorchDispatchMode):
    """Hands every torch operation of this thread to ``sink`` while it is active. Compiled functions run eagerly then.

    Args:
        sink: takes the work of each operation.
        weights: tensors whose bytes count as weights; so do those of each Parameter that an operation is given.

    Attributes:
        weight_bytes: of all weights so far.
    """

    def __init__(self, sink: Callable[[Counted], None], weights: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._sink = sink
        self._weights: set[int] = set()
        self.weight_bytes = 0
        for weight in weights:
            self._note(weight)

    def _note(self, weight: Tensor) -> None:
        """Remembers the memory of a weight."""
        if _has_memory(weight) and (place := weight.untyped_storage().data_ptr()) not in self._weights:
            self._weights.add(place)
            self.weight_bytes += weight.untyped_storage().nbytes()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in tensors((args, kwargs)):
            if isinstance(tensor, Parameter):
                self._note(local(tensor))
            if isinstance(tensor, FakeTensor):
                return func(*args, **kwargs)  # someone wants to know a shape: nothing is computed
        if any(map(is_traceable_wrapper_subclass_type, types)):
            return NotImplemented  # a DTensor and the like: what it does with the tensors inside comes here again
        if not hasattr(func, "_schema"):  # control flow and the like
            self._sink(Counted(None, f"{func}: no counting rule"))
            return func(*args, **kwargs)
        if not has_rule(func):
            with self:  # in inference mode an operation may arrive whole that is made of others
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        for counted in count_op(Op(func, args, kwargs, out, self._weights)):
            self._sink(counted)
        return out
