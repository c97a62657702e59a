"""Times one layer against everything that may replace it, in both memory formats, in turns."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..measure.clock import Clock
from ..measure.compare import NOISE_FLOOR, Comparison
from ..measure.provenance import Measurement
from ..measure.turns import FOREIGN_CORES, Contender, Schedule, Turns, take_turns
from .candidates import FusedActivation, Options
from .layout import AS_GIVEN, CHANNELS_LAST
from .survey import Site


@dataclass(frozen=True)
class Choice:
    """A kernel with its options for one layer, and what speaks for it (None where nothing was measured)."""

    stem: str
    options: Options
    activation: FusedActivation | None = None
    time: Measurement | None = None
    comparison: Comparison | None = None
    error: float | None = None

    def __str__(self) -> str:
        return " ".join([self.stem, *(f"{k}={v}" for k, v in self.options.items())])


@dataclass
class LayerTimes:
    """What the turns said about one signature.

    Attributes:
        stock: memory format -> time of the stock layer, its activation included where that may be fused.
        winners: memory format -> choices that beat the stock layer in that format beyond noise, fastest first.
        alternatives: the same, with those which looked faster but got too few turns to prove it; to fall back to.
        losers: memory format -> the fastest choice of those that did not.
        thrown_out: choice -> why it does not count.
        noise: A/A noise.
    """

    stock: dict[str, Measurement] = field(default_factory=dict)
    winners: dict[str, list[Choice]] = field(default_factory=dict)
    alternatives: dict[str, list[Choice]] = field(default_factory=dict)
    losers: dict[str, Choice] = field(default_factory=dict)
    thrown_out: dict[str, str] = field(default_factory=dict)
    noise: float = 0.0


def time_site(
    site: Site,
    activation: nn.Module | None,
    max_error: float,
    schedule: Schedule,
    clock: Clock,
    progress: Callable[[float], None],
) -> LayerTimes:
    """Measure one layer; `activation` is the stock module of what may be fused into it.

    Candidates that err by more than `max_error` are thrown out at once: they must not outrun those that do not.
    """
    contenders, choices = _contenders(site, activation)
    exact = copy.deepcopy(_Layer(site.module, activation)).double()

    def turns() -> Turns:
        return take_turns(
            contenders,
            (list(site.inputs),),
            schedule,
            reference=lambda inputs: exact.run([x.double() for x in inputs]),
            tolerance=max(max_error, rounding_of(site)),
            twin=f"stock, {AS_GIVEN}",
            clock=clock,
            progress=progress,
        )

    taken = turns()
    if (taken.foreign_cores or 0.0) > FOREIGN_CORES:
        taken = turns()
    return _judge(taken, choices)


def _contenders(
    site: Site, activation: nn.Module | None
) -> tuple[list[Contender], dict[str, tuple[str, Choice]]]:
    """Everybody in every memory format, stock first; and contender -> its format and choice."""
    forms = (AS_GIVEN, CHANNELS_LAST) if site.inputs[0].dim() == 4 else (AS_GIVEN,)
    stock = _Layer(site.module, activation)
    contenders = [_contender(f"stock, {form}", stock, form, keep=True) for form in forms]
    choices = {}
    for stem in site.stems:
        fused = site.activation if site.activation and site.activation.kind in stem.activations else None
        for options in stem.options(site.module):
            choice = Choice(stem.name, options, fused)
            module = stem.build(site.module, options, fused).eval()
            layer = _Layer(module, None if fused else activation)
            for form in forms:
                choices[f"{choice}, {form}"] = (form, choice)
                contenders.append(_contender(f"{choice}, {form}", layer, form))
    return contenders, choices


def rounding_of(site: Site) -> float:
    """A layer cannot be nearer to float64 than the rounding of its own type, whatever the network's bound."""
    return 4 * torch.finfo(site.inputs[0].dtype).eps


class _Layer(nn.Module):
    """A layer and the activation after it, run on the inputs of all calls of one forward of the network."""

    def __init__(self, layer: nn.Module, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.activation = layer, activation

    def run(self, inputs: list[Tensor]) -> list[Tensor]:
        outputs = [self.layer(x) for x in inputs]
        return outputs if self.activation is None else [self.activation(y) for y in outputs]


def _contender(name: str, layer: _Layer, form: str, keep: bool = False) -> Contender:
    memory_format = torch.channels_last if form == CHANNELS_LAST else None

    def prepare(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if memory_format is None:
            return arguments
        return ([x.contiguous(memory_format=memory_format) for x in arguments[0]],)

    if memory_format is not None and keep:
        # The stock layer in its best form: weights in the same format. A copy, the other contender keeps its own.
        layer = copy.deepcopy(layer).to(memory_format=memory_format)
    return Contender(name, layer.run, prepare, keep, tolerance=math.inf if keep else None)


def _judge(turns: Turns, choices: dict[str, tuple[str, Choice]]) -> LayerTimes:
    times = LayerTimes(thrown_out=dict(turns.thrown_out), noise=turns.noise())
    for form in (AS_GIVEN, CHANNELS_LAST):
        stock = f"stock, {form}"
        if not turns.samples.get(stock):
            continue
        times.stock[form] = turns.time(stock)
        ranked = [name for name in turns.ranked() if name in choices and choices[name][0] == form]
        judged = []
        for name in ranked:
            plain, comparison = choices[name][1], turns.compare(stock, name)
            judged.append(
                replace(plain, time=turns.time(name), comparison=comparison, error=turns.errors.get(name))
            )
        times.winners[form] = [c for c in judged if c.comparison.verdict == "faster"]
        times.alternatives[form] = [c for c in judged if c.comparison.ratio.value > 1 + NOISE_FLOOR]
        losing = [c for c in judged if c.comparison.verdict != "faster"]
        if losing:
            times.losers[form] = losing[0]
    return times
