"""LinearLSTM and LinearGRU: recurrent layers whose products run on linear layers with weights packed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .conversion import check_stock
from .csr_matmul import SparseLinear
from .int8_gemm import Int8Linear
from .strassen_gemm import StrassenLinear

Linear = Callable[[nn.Linear], nn.Module]
LINEARS: dict[str, Linear] = {
    "dense": lambda stock: StrassenLinear.from_module(stock, levels=0),
    "int8": Int8Linear.from_module,
    "sparse": lambda stock: SparseLinear.from_module(stock, warn=False),
}
SIZES = (
    "input_size",
    "hidden_size",
    "num_layers",
    "bias",
    "batch_first",
    "dropout",
    "bidirectional",
    "proj_size",
)


class _Cell(nn.Module):
    """One layer in one direction: the products with inputs and with the state, and LSTM's projection."""

    def __init__(self, inputs: nn.Module, state: nn.Module, project: nn.Module | None) -> None:
        super().__init__()
        self.inputs, self.state, self.project = inputs, state, project


class LinearRNN(nn.Module, ABC):
    """What `LinearLSTM` and `LinearGRU` share.

    The inputs of a layer are multiplied for all steps at once, the state step by step; both weights are packed once and
    used again at every step and call. The arguments and results of a call are those of the stock module: sequences
    ``[time, batch, features]``, ``[batch, time, features]`` with ``batch_first``, one without batch, or a
    ``PackedSequence``.

    Attributes:
        cells: of layer ``i`` in direction ``d`` at ``i * directions + d``, with linear layers ``inputs``, ``state``
            and, for an LSTM with ``proj_size``, ``project``.
    """

    STOCK: ClassVar[type[nn.RNNBase]]

    def __init__(self, sizes: dict[str, Any], cells: list[_Cell]) -> None:
        super().__init__()
        self.sizes = sizes
        self.cells = nn.ModuleList(cells)

    def __getattr__(self, name: str) -> Any:
        sizes = self.__dict__.get("sizes", {})
        return sizes[name] if name in sizes else super().__getattr__(name)

    @classmethod
    def from_module(cls, stock: nn.RNNBase, linear: str | Linear = "dense") -> LinearRNN:
        """The module that computes what ``stock`` does.

        Args:
            stock: the stock module; masks of ``torch.nn.utils.prune`` on it count.
            linear: "dense" (`StrassenLinear`), "int8" (`Int8Linear`, for inference) or "sparse" (`SparseLinear`), or a
                function that makes a linear layer of an ``nn.Linear``.

        Raises:
            ValueError: ``stock`` is no such module, or ``linear`` none of these.
        """
        if type(stock) is not cls.STOCK:  # hooks of pruning are allowed: masked weights are read as they are
            check_stock(stock, cls.STOCK)
        if isinstance(linear, str):
            if linear not in LINEARS:
                raise ValueError(f"linear must be one of {', '.join(LINEARS)} or a function, got {linear!r}")
            linear = LINEARS[linear]
        cells = [_Cell(*(part and linear(part) for part in parts)) for parts in _parts(stock)]
        return cls({name: getattr(stock, name) for name in SIZES}, cells).train(stock.training)

    def to_module(self) -> nn.RNNBase:
        """The stock module of the same weights; those of int8 layers are rounded."""
        first = self.cells[0].inputs.weight
        sizes = dict(self.sizes)
        if not sizes["proj_size"]:
            del sizes["proj_size"]
        stock = self.STOCK(**sizes, device=first.device, dtype=first.dtype)
        with torch.no_grad():
            for own, ends in zip(self.cells, _ends(stock), strict=True):
                for name, part in (("ih", own.inputs), ("hh", own.state), ("hr", own.project)):
                    for kind in ("weight", "bias"):
                        value = getattr(part, kind, None)
                        if value is not None:
                            getattr(stock, f"{kind}_{name}_{ends}").copy_(value)
        return stock.train(self.training)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """As that of the stock module."""
        if isinstance(input, PackedSequence):
            first = self._sorted(hx, input.sorted_indices)
            output, last = self._run(input.data, input.batch_sizes.tolist(), first)
            packed = PackedSequence(output, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
            return packed, self._result(self._sorted(last, input.unsorted_indices), True)
        if input.dim() not in (2, 3):
            raise RuntimeError(f"{type(self).__name__}: input must have 2 or 3 dimensions, got {input.dim()}")
        batched = input.dim() == 3
        x = input if batched else input[:, None]
        x = x.transpose(0, 1) if batched and self.sizes["batch_first"] else x
        time, batch = x.shape[:2]
        first = None if hx is None else tuple(h if batched else h[:, None] for h in self._states(hx))
        output, last = self._run(x.flatten(0, 1), [batch] * time, first)
        output = output.unflatten(0, (time, batch))
        if not batched:
            return output[:, 0], self._result(last, batched)
        return output.transpose(0, 1) if self.sizes["batch_first"] else output, self._result(last, batched)

    def extra_repr(self) -> str:
        """Sizes, as of the stock module."""
        return ", ".join(f"{name}={value}" for name, value in self.sizes.items() if value)

    @abstractmethod
    def _states(self, hx: Any) -> tuple[Tensor, ...]:
        """States of a call as a tuple of ``[layers * directions, batch, size]``."""

    @abstractmethod
    def _step(self, cell: _Cell, gates: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """States after a step; ``gates`` are the products with the inputs. The first state is the output."""

    @abstractmethod
    def _state_sizes(self) -> tuple[int, ...]:
        """Features of each state."""

    def _result(self, states: tuple[Tensor, ...], batched: bool) -> Any:
        states = states if batched else tuple(h[:, 0] for h in states)
        return states if len(states) > 1 else states[0]

    def _sorted(self, hx: Any, order: Tensor | None) -> Any:
        if hx is None or order is None:
            return None if hx is None else self._states(hx)
        return tuple(h.index_select(1, order) for h in self._states(hx))

    def _run(
        self, x: Tensor, counts: list[int], first: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All layers on ``x [sum of counts, features]``, of which step t has the next ``counts[t]`` rows."""
        directions = 2 if self.sizes["bidirectional"] else 1
        ends = []
        if first is None:
            places = (len(self.cells), counts[0] if counts else 0)
            first = tuple(x.new_zeros(*places, size) for size in self._state_sizes())
        for layer in range(self.sizes["num_layers"]):
            outputs = []
            for direction in range(directions):
                at = layer * directions + direction
                output, last = self._run_cell(
                    self.cells[at], x, counts, tuple(h[at] for h in first), backwards=direction == 1
                )
                outputs.append(output)
                ends.append(last)
            x = torch.cat(outputs, 1) if directions == 2 else outputs[0]
            if self.sizes["dropout"] and layer + 1 < self.sizes["num_layers"]:
                x = F.dropout(x, self.sizes["dropout"], self.training)
        return x, tuple(torch.stack(parts) for parts in zip(*ends, strict=True))

    def _run_cell(
        self, cell: _Cell, x: Tensor, counts: list[int], states: tuple[Tensor, ...], backwards: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Sequences are sorted by length: those that a step lacks are the last, and keep their states."""
        gates = cell.inputs(x).split(counts)
        outputs: list[Tensor] = [x] * len(counts)
        for t in reversed(range(len(counts))) if backwards else range(len(counts)):
            count = counts[t]
            new = self._step(cell, gates[t], tuple(h[:count] for h in states))
            outputs[t] = new[0]
            states = tuple(
                n if count == len(h) else torch.cat((n, h[count:])) for n, h in zip(new, states, strict=True)
            )
        return torch.cat(outputs), states


class LinearLSTM(LinearRNN):
    """An ``nn.LSTM`` on packed linear layers, dense, int8 or sparse: ``LinearLSTM.from_module(stock, "int8")``."""

    STOCK = nn.LSTM

    def _states(self, hx: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        return tuple(hx)

    def _state_sizes(self) -> tuple[int, ...]:
        return self.sizes["proj_size"] or self.sizes["hidden_size"], self.sizes["hidden_size"]

    def _step(self, cell: _Cell, gates: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c = states
        i, f, g, o = (gates + cell.state(h)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h if cell.project is None else cell.project(h), c


class LinearGRU(LinearRNN):
    """An ``nn.GRU`` on packed linear layers, dense, int8 or sparse: ``LinearGRU.from_module(stock, "sparse")``."""

    STOCK = nn.GRU

    def _states(self, hx: Tensor | tuple[Tensor]) -> tuple[Tensor, ...]:
        return (hx,) if isinstance(hx, Tensor) else hx

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.sizes["hidden_size"],)

    def _step(self, cell: _Cell, gates: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (h,) = states
        r_in, z_in, n_in = gates.chunk(3, 1)
        r_h, z_h, n_h = cell.state(h).chunk(3, 1)
        z = torch.sigmoid(z_in + z_h)
        n = torch.tanh(n_in + torch.sigmoid(r_in + r_h) * n_h)
        return (torch.lerp(n, h, z),)


def _ends(stock: nn.RNNBase) -> Iterator[str]:
    """Ends of the names of parameters, in the order of cells."""
    for layer in range(stock.num_layers):
        yield f"l{layer}"
        if stock.bidirectional:
            yield f"l{layer}_reverse"


def _parts(stock: nn.RNNBase) -> Iterator[tuple[nn.Linear | None, ...]]:
    """Inputs, state and projection of each cell as stock layers."""
    for ends in _ends(stock):
        yield tuple(_linear(stock, f"{name}_{ends}") for name in ("ih", "hh", "hr"))


def _linear(stock: nn.RNNBase, name: str) -> nn.Linear | None:
    weight = getattr(stock, f"weight_{name}", None)
    if weight is None:
        return None
    bias = getattr(stock, f"bias_{name}", None)
    n, k = weight.shape
    made = nn.Linear(k, n, bias is not None, device="meta", dtype=weight.dtype)
    made.weight = nn.Parameter(weight.detach().clone(), weight.requires_grad)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    return made.train(stock.training)
