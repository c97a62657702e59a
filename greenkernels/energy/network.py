"""Runs a network once and models its energy layer by layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .counts import Counted, count
from .ops import tensors
from .tally import CountOperations, Tally

_OURS = __name__.partition(".")[0] + ".nn"


@dataclass
class LayerWork:
    """What one module did in a forward: as a layer with a counting rule, or by its own torch operations.

    Attributes:
        name: its qualified name, "" for the network itself.
        kind: its class.
        tally: the work; without that of children, which have rows of their own.
    """

    name: str
    kind: str
    tally: Tally = field(default_factory=Tally)


@dataclass
class _Frame:
    """A module whose forward is running."""

    row: LayerWork
    covered: Counted | None  # the count of a rule, which stands for everything inside
    fallbacks: int
    ops: Tally = field(default_factory=Tally)


def layer_work(model: nn.Module, inputs: Any) -> list[LayerWork]:
    """One forward without gradients; layers in the order of their first call.

    Args:
        model: in eval mode.
        inputs: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments.

    Raises:
        ValueError: the network is in training mode: a forward would change it.
    """
    require_eval(model, "estimate")
    args, kwargs = arguments(inputs)
    recorder = _Recorder()
    weights = [*model.parameters(), *model.buffers()]
    with recorder.watch(model), torch.no_grad(), CountOperations(recorder.count, weights):
        model(*args, **kwargs)
    return recorder.rows()


def require_eval(model: nn.Module, caller: str) -> None:
    """Raises ValueError where a module is in training mode."""
    for name, module in model.named_modules():
        if module.training:
            where = f"{name!r} is not" if name else "it is not"
            raise ValueError(
                f"{caller}: the model must be in eval mode, since a forward in training changes it; {where}: call "
                "model.eval(), or set training = False on all modules() of one that torch.export made"
            )


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of one call."""
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    if isinstance(inputs, dict):
        return (), inputs
    if isinstance(inputs, (tuple, list)):
        return tuple(inputs), {}
    raise ValueError(f"estimate: inputs must be a tensor, a tuple or a dict, got {type(inputs).__name__}")


class _Recorder:
    """Follows which module runs, by hooks, and books each operation on the innermost one that has a row."""

    def __init__(self) -> None:
        self._rows: dict[str, LayerWork] = {}
        self._stack: list[_Frame] = []
        self._outside = Tally()

    @contextlib.contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        handles = []
        try:
            for name, module in model.named_modules():
                handles.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
                handles.append(module.register_forward_hook(self._leave))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def rows(self) -> list[LayerWork]:
        return [row for row in self._rows.values() if row.tally.calls or row.tally.uncounted]

    def count(self, counted: Counted) -> None:
        self._stack[-1].ops.add(counted) if self._stack else self._outside.add(counted)

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inside = bool(self._stack) and self._stack[-1].covered is not None
            covered = self._stack[-1].covered if inside else _by_rule(module, args, kwargs)
            row = self._rows.setdefault(name, LayerWork(name, type(module).__name__))
            self._stack.append(_Frame(row, covered, _fallbacks(module)))

        return hook

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        frame = self._stack.pop()
        parent = self._stack[-1] if self._stack else None
        if parent is not None and parent.covered is not None:
            parent.ops.merge(frame.ops)  # kept, in case the parent's rule turns out not to hold
        elif frame.covered is not None and _fallbacks(module) == frame.fallbacks:
            frame.row.tally.add(frame.covered)
        else:
            frame.row.tally.merge(frame.ops)


def _by_rule(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Counted | None:
    """The count of a layer, or None where it has to be counted by the operations inside."""
    found = list({id(tensor): tensor for tensor in tensors((args, kwargs))}.values())
    if not found or not _is_plain(module, args, kwargs):
        return None
    floating = [tensor.dtype for tensor in found if tensor.dtype.is_floating_point]
    counted = count(module, *(tensor.shape for tensor in found), dtype=floating[0] if floating else None)
    return counted if counted.counts is not None else None


def _is_plain(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether shapes say all about a call: a rule sees no other options, no hooks and no autocast."""
    if not all(map(_is_known, (*args, *kwargs.values()))):
        return False
    if len(module._forward_hooks) > 1:  # one is ours
        return False
    return not any(torch.is_autocast_enabled(t.device.type) for t in tensors((args, kwargs)))


def _is_known(argument: Any) -> bool:
    """Whether rules know what to do with it: a tensor, the states of an LSTM, a flag of attention."""
    if isinstance(argument, tuple) and not isinstance(argument, PackedSequence):
        return all(map(_is_known, argument))
    return argument is None or isinstance(argument, (Tensor, bool))


def _fallbacks(module: nn.Module) -> int:
    """Calls in which a module of this package ran the stock operation, so that its own count does not hold."""
    ours = type(module).__module__.startswith(_OURS)
    return sum(getattr(module, "fallbacks", {}).values()) if ours else 0
