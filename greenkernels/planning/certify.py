"""The whole converted network against the stock one: first what it does to the results, backing off until the bounds
hold, then its time.

Works on inputs that no choice was made on, and on fresh timings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..measure.clock import Clock
from ..measure.rotation import relative_error
from ..measure.turns import Contender, Schedule, Turns, take_turns
from .behind import Behind
from .convert import install
from .copying import copy_model
from .drafts import split_block
from .layout import AS_GIVEN, CHANNELS_LAST, run_channels_last, worth_trying
from .plans import LayerPlan, NetworkVerdict
from .quality import Finding, Inputs, Judge, run
from .timing import Choice
from .watch import watched
from .work import NetworkWork


@dataclass
class Converted:
    """A converted network that keeps within the bounds.

    Attributes:
        network: ready to run.
        layers: what was done to it.
        found: what it does to the results.
        work: counts of one forward of it.
        memory_format: what it runs in.
    """

    network: nn.Module
    layers: list[LayerPlan]
    found: Finding
    work: NetworkWork
    memory_format: str


class ConversionError(RuntimeError):
    """The converted network cannot run at all, for example because a view does not fit the memory format."""


def convert_within(
    stock: nn.Module,
    layers: list[LayerPlan],
    alternatives: dict[str, list[Choice]],
    memory_format: str,
    judge: Judge,
) -> Converted:
    """Convert a copy of `stock`; while a bound is broken, weaken the layer that errs most.

    Args:
        alternatives: layer name -> what else would win there, best first.
        judge: holds the bounds; the layers' own errors are taken on its first input.
    """
    layers = [replace(layer) for layer in layers]
    while True:
        network, proof, found = try_out(stock, layers, memory_format, judge)
        silent = [layer for layer in layers if layer.stem is not None and layer.names[0] in proof.silent]
        for layer in layers:
            layer.error = proof.errors.get(layer.names[0])
        for layer in silent:
            _give_up(layers, layer, alternatives, proof.silent[layer.names[0]])
        replaced = [layer for layer in layers if layer.stem is not None]
        broken = judge.broken(found)
        if not silent and (not broken or not replaced):
            return Converted(network, layers, found, proof.work, memory_format)
        if not silent:
            worst = max(
                (layer for layer in replaced if not layer.within_block), key=lambda layer: layer.error
            )
            _weaken(layers, worst, alternatives, broken)


def try_out(
    stock: nn.Module, layers: list[LayerPlan], memory_format: str, judge: Judge
) -> tuple[nn.Module, Proof, Finding]:
    """A converted copy of `stock`, what one forward of it showed, and what it does to the results.

    Raises:
        ConversionError: it does not run.
    """
    try:
        network = install(copy_model(stock), layers, memory_format)
        return network, prove_calls(stock, network, layers, judge.first), judge.find(network)
    except Exception as problem:
        raise ConversionError(f"{type(problem).__name__}: {problem}") from problem


@dataclass
class Proof:
    """What one forward of the converted network showed.

    Attributes:
        errors: layer -> relative difference to the stock one on the very input it got; only layers that ran.
        silent: layer -> why its kernel did not run.
        work: counts of that forward.
    """

    errors: dict[str, float]
    silent: dict[str, str]
    work: NetworkWork


def prove_calls(stock: nn.Module, network: nn.Module, layers: list[LayerPlan], inputs: Inputs) -> Proof:
    """Run the converted network once and watch: each replacement must be called, and run its own kernel."""
    errors: dict[str, float] = {}
    work, bare = NetworkWork(), set()
    called = [layer for layer in layers if layer.stem is not None and not layer.within_block]
    names = {network.get_submodule(layer.names[0]): layer for layer in called}
    plans = {layer.names[0]: layer for layer in layers}

    def compare(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        layer = names.get(module)
        if layer is not None:
            expected, chain = _values(module, "input", args[0]), layer.chain
            output = _values(module, "output", output)
            before = layer.block[:-1] if kwargs.get("block") else ()
            for name in before:
                expected = Behind.of(stock, plans[name].chain)(stock.get_submodule(name)(expected))
            expected = stock.get_submodule(layer.names[0])(expected)
            if chain is not None and chain.container is not None and not _in_full(layer, kwargs):
                bare.add(layer.names[0])
            elif chain is not None:
                expected = Behind.of(stock, chain)(expected, *args[1:])
            error = relative_error(output, expected)
            errors[layer.names[0]] = max(error, errors.get(layer.names[0], 0.0))

    with watched(network.modules(), work.enter, compare), torch.inference_mode():
        run(network, inputs)
    silent = {layer.names[0]: _why_silent(m, layer.names[0] in errors) for m, layer in names.items()}
    silent |= dict.fromkeys(bare, "what calls it runs its own forward, in which nothing is fused")
    return Proof(errors, {name: why for name, why in silent.items() if why}, work)


def _in_full(layer: LayerPlan, kwargs: dict[str, Any]) -> bool:
    """Whether it was called for all that is planned for it."""
    return bool(kwargs.get("block" if layer.block else "fused"))


def _values(module: nn.Module, what: str, map_: Tensor) -> Tensor:
    """What 8-bit integers between two layers stand for; any other map as it is."""
    values_of = getattr(module, f"{what}_values", None)
    return map_ if values_of is None else values_of(map_)


def _why_silent(module: nn.Module, called: bool) -> str:
    if not called:
        return "its replacement was never called: something reads its weight instead"
    fallbacks = getattr(module, "fallbacks", None)
    return f"its replacement falls back to torch: {', '.join(fallbacks)}" if fallbacks else ""


def _give_up(
    layers: list[LayerPlan], layer: LayerPlan, alternatives: dict[str, list[Choice]], why: str
) -> None:
    """The stock layer again; of a block, what is best for each layer by itself."""
    split_block(layers, layer, alternatives, why) if layer.block else layer.keep_stock(why)


def _weaken(
    layers: list[LayerPlan], layer: LayerPlan, alternatives: dict[str, list[Choice]], why: str
) -> None:
    """Give the layer the best kernel that errs clearly less, else its stock one."""
    for choice in () if layer.block else alternatives.get(layer.names[0], []):
        # Less than half: steps that change nothing to speak of would only cost forwards.
        if choice.error is not None and layer.error is not None and choice.error < layer.error / 2:
            choice.put_into(layer)
            layer.reason = f"chosen for its smaller error ({why})"
            return
    _give_up(layers, layer, alternatives, why)


def time_networks(
    stock: nn.Module,
    converted: dict[str, nn.Module],
    inputs: Inputs,
    schedule: Schedule,
    clock: Clock,
    progress: Callable[[float], None],
    again: bool,
) -> Turns:
    """Stock (as given, and in channels_last) and converted networks (memory format -> network), in turns.

    Disturbed turns are taken again, unless `again` is False, as under a time budget.
    """
    contenders = [_network_contender(f"stock, {AS_GIVEN}", stock, keep=True)]
    if worth_trying(inputs):
        other = run_channels_last(copy_model(stock))
        contenders.append(_network_contender(f"stock, {CHANNELS_LAST}", other, keep=True))
    for form, network in converted.items():
        contenders.append(_network_contender(f"converted, {form}", network))
    twin = contenders[-1].name  # the cheapest contender to run twice
    turns = take_turns(contenders, inputs, schedule, twin=twin, clock=clock, progress=progress)
    if again and turns.disturbed:  # once more; who is disturbed twice is told so by the noise in the plan
        turns = take_turns(contenders, inputs, schedule, twin=twin, clock=clock, progress=progress)
    return turns


def _network_contender(name: str, network: nn.Module, keep: bool = False) -> Contender:
    return Contender(name, lambda args, kwargs: network(*args, **kwargs), keep=keep)


def fastest_form(turns: Turns, forms: list[str]) -> str:
    """Memory format of the fastest converted network; the first one where none could be timed."""
    ranked = [name.removeprefix("converted, ") for name in turns.ranked() if name.startswith("converted")]
    return ranked[0] if ranked else forms[0]


def verdict(turns: Turns, form: str) -> NetworkVerdict:
    """The verdict on the converted network in that format, against the best stock format."""
    name = f"converted, {form}"
    stocks = [n for n in turns.ranked() if n.startswith("stock")]
    times = {n: turns.time(n) for n in stocks}
    result = NetworkVerdict(
        stock=times.get(f"stock, {AS_GIVEN}"),
        stock_channels_last=times.get(f"stock, {CHANNELS_LAST}"),
        noise=turns.noise(),
        foreign_cores=turns.foreign_cores,
    )
    if name in turns.thrown_out or not turns.samples.get(name) or not stocks:
        result.word = turns.thrown_out.get(name, "it was never timed")
        return result
    comparison = turns.compare(stocks[0], name)
    result.converted, result.speedup = comparison.contender, comparison.ratio
    result.word = comparison.verdict
    return result
