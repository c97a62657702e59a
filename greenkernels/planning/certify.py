"""The whole converted network against the stock one: first its error, backing off until it holds, then its time.

Works on inputs that no choice was made on, and on fresh timings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..measure.clock import Clock
from ..measure.rotation import relative_error
from ..measure.turns import Contender, Schedule, Turns, take_turns
from .convert import install
from .copying import copy_model
from .layout import AS_GIVEN, CHANNELS_LAST, run_channels_last
from .plans import LayerPlan, NetworkVerdict
from .timing import Choice

Inputs = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments of one call


@dataclass
class Converted:
    """A converted network that keeps within the error bound.

    Attributes:
        network: ready to run.
        layers: what was done to it.
        error: largest relative difference to the stock network over the checked inputs.
    """

    network: nn.Module
    layers: list[LayerPlan]
    error: float


def convert_within(
    stock: nn.Module,
    layers: list[LayerPlan],
    alternatives: dict[str, list[Choice]],
    memory_format: str,
    checked: list[tuple[Inputs, Any]],
    max_error: float,
) -> Converted:
    """Convert a copy of `stock`; while its error is above `max_error`, weaken the layer that errs most.

    Args:
        alternatives: layer name -> what else would win there, fastest first.
        checked: inputs and what `stock` makes of them; the layers' own errors are taken on the first.
    """
    layers = [replace(layer) for layer in layers]
    while True:
        network = install(copy_model(stock), layers, memory_format)
        try:
            errors = layer_errors(stock, network, layers, checked[0][0])
            with torch.inference_mode():
                error = max(relative_error(network(*x[0], **x[1]), expected) for x, expected in checked)
        except Exception as problem:
            raise ConversionError(f"{type(problem).__name__}: {problem}") from problem
        silent = [layer for layer in layers if layer.stem is not None and layer.names[0] not in errors]
        for layer in silent:
            _keep_stock(layer, "its replacement was never called: something reads its weight instead")
        for layer in layers:
            layer.error = errors.get(layer.names[0])
        replaced = [layer for layer in layers if layer.stem is not None]
        if not silent and (error <= max_error or not replaced):
            return Converted(network, layers, error)
        if not silent:
            worst = max(replaced, key=lambda layer: layer.error)
            _weaken(worst, alternatives.get(worst.names[0], []), error, max_error)


class ConversionError(RuntimeError):
    """The converted network cannot run at all, for example because a view does not fit the memory format."""


def layer_errors(
    stock: nn.Module, network: nn.Module, layers: list[LayerPlan], inputs: Inputs
) -> dict[str, float]:
    """Relative difference of each replaced layer to the stock one on the very input it gets; only layers that ran."""
    errors: dict[str, float] = {}
    handles = []
    for layer in layers:
        if layer.stem is None:
            continue
        original = stock.get_submodule(layer.names[0])
        after = stock.get_submodule(layer.activation.slot) if layer.activation else None

        def compare(
            _module: nn.Module,
            args: tuple[Any, ...],
            output: Any,
            name=layer.names[0],
            original=original,
            after=after,
        ) -> None:
            expected = original(*args) if after is None else after(original(*args))
            errors[name] = max(relative_error(output, expected), errors.get(name, 0.0))

        handles.append(network.get_submodule(layer.names[0]).register_forward_hook(compare))
    try:
        with torch.inference_mode():
            network(*inputs[0], **inputs[1])
    finally:
        for handle in handles:
            handle.remove()
    return errors


def _weaken(layer: LayerPlan, alternatives: list[Choice], error: float, max_error: float) -> None:
    """Give the layer the fastest kernel that errs clearly less, else its stock one."""
    for choice in alternatives:
        # Less than half: steps that change nothing to speak of would only cost forwards.
        if choice.error is not None and layer.error is not None and choice.error < layer.error / 2:
            layer.stem, layer.options, layer.activation = choice.stem, choice.options, choice.activation
            layer.after = choice.time
            layer.reason = (
                f"chosen for its smaller error (network was at {error:.1e}, allowed {max_error:.1e})"
            )
            return
    _keep_stock(layer, f"the network's error would be {error:.1e}, allowed {max_error:.1e}")


def _keep_stock(layer: LayerPlan, reason: str) -> None:
    layer.stem, layer.options, layer.activation, layer.after, layer.reason = None, {}, None, None, reason


def time_networks(
    stock: nn.Module,
    converted: dict[str, nn.Module],
    inputs: Inputs,
    schedule: Schedule,
    clock: Clock,
    progress: Callable[[float], None],
    try_channels_last: bool,
) -> Turns:
    """Stock (as given, and in channels_last) and converted networks (memory format -> network), in turns."""
    contenders = [_network_contender(f"stock, {AS_GIVEN}", stock, keep=True)]
    if try_channels_last:
        other = run_channels_last(copy_model(stock))
        contenders.append(_network_contender(f"stock, {CHANNELS_LAST}", other, keep=True))
    for form, network in converted.items():
        contenders.append(_network_contender(f"converted, {form}", network))
    twin = f"stock, {AS_GIVEN}"
    turns = take_turns(contenders, inputs, schedule, twin=twin, clock=clock, progress=progress)
    if turns.disturbed:  # once more; who is disturbed twice is told so by the noise in the plan
        turns = take_turns(contenders, inputs, schedule, twin=twin, clock=clock, progress=progress)
    return turns


def _network_contender(name: str, network: nn.Module, keep: bool = False) -> Contender:
    return Contender(name, lambda args, kwargs: network(*args, **kwargs), keep=keep)


def verdict(turns: Turns, form: str, error: float) -> tuple[NetworkVerdict, str]:
    """The verdict on the converted network in that format, against the best stock format; and in words."""
    name = f"converted, {form}"
    stocks = [n for n in turns.ranked() if n.startswith("stock")]
    times = {n: turns.time(n) for n in stocks}
    result = NetworkVerdict(
        stock=times.get(f"stock, {AS_GIVEN}"),
        stock_channels_last=times.get(f"stock, {CHANNELS_LAST}"),
        error=error,
        noise=turns.noise(),
        foreign_cores=turns.foreign_cores,
    )
    if name in turns.thrown_out or not turns.samples.get(name):
        return result, turns.thrown_out.get(name, "it was never timed")
    comparison = turns.compare(stocks[0], name)
    result.converted, result.speedup = comparison.contender, comparison.ratio
    return result, comparison.verdict
