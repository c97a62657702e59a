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
from ..measure.provenance import Measurement
from ..measure.turns import FOREIGN_CORES, Contender, Schedule, Turns, take_turns
from .candidates import FusedActivation, Options, Stem
from .joules import Work, energy, work_of, work_of_replacement
from .layout import AS_GIVEN, CHANNELS_LAST, to_channels_last
from .plans import LayerPlan
from .survey import Site


@dataclass(frozen=True)
class Choice:
    """A kernel with its options for one layer, and what speaks for it (None where nothing was measured).

    Attributes:
        stem, options, activation: what `candidates.Stem.build` takes.
        time: of all calls in one forward of the network.
        verdict: "faster", "slower" or "no difference" to the stock layer in the same memory format.
        speedup: time of that stock layer over its own.
        error: relative difference to float64.
        work: counts of the layer with it, the activation included.
        extra_bytes, scratch_bytes: memory, as the stem says.
    """

    stem: str
    options: Options
    activation: FusedActivation | None = None
    time: Measurement | None = None
    verdict: str = ""
    speedup: Measurement | None = None
    error: float | None = None
    work: Work | None = None
    extra_bytes: int = 0
    scratch_bytes: int = 0

    def __str__(self) -> str:
        return " ".join([self.stem, *(f"{k}={v}" for k, v in self.options.items())])

    def put_into(self, layer: LayerPlan) -> None:
        """Make it the layer's kernel."""
        layer.stem, layer.options, layer.activation = self.stem, self.options, self.activation
        layer.after, layer.energy_after = self.time, energy(self.work, self.time)
        layer.error = self.error
        layer.extra_bytes, layer.scratch_bytes = self.extra_bytes, self.scratch_bytes


@dataclass
class LayerTimes:
    """What the turns said about one signature.

    Attributes:
        stock: memory format -> time of the stock layer, its activation included where that may be fused.
        choices: memory format -> what was tried and stayed in, fastest first.
        thrown_out: choice -> why it does not count.
        noise: A/A noise.
        work: counts of the stock layer, its activation included; None where they are not known.
        date: when it was measured, where that was in another run; else "".
    """

    stock: dict[str, Measurement] = field(default_factory=dict)
    choices: dict[str, list[Choice]] = field(default_factory=dict)
    thrown_out: dict[str, str] = field(default_factory=dict)
    noise: float = 0.0
    work: Work | None = None
    date: str = ""

    def known_form(self, form: str) -> str:
        """That format, or the only one there is for inputs that have no memory format, as those of nn.Linear."""
        return form if form in self.stock else AS_GIVEN


def time_site(
    site: Site,
    activation: nn.Module | None,
    max_error: float,
    schedule: Schedule,
    clock: Clock,
    progress: Callable[[float], None],
    again: bool = True,
) -> LayerTimes:
    """Measure one layer; `activation` is the stock module of what may be fused into it.

    Turns that other processes disturbed are taken again, unless `again` is False. Candidates that
    err by more than `max_error` are thrown out at once: they must not outrun those that do not.
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
            twin=None if long_calls(schedule) else f"stock, {AS_GIVEN}",
            clock=clock,
            progress=progress,
        )

    taken = turns()
    if again and (taken.foreign_cores or 0.0) > FOREIGN_CORES:
        taken = turns()
    times = _judge(taken, choices)
    times.work = stock_work(site, activation)
    return times


def long_calls(schedule: Schedule) -> bool:
    """Long calls go without an A/A twin: their clock is no source of noise, and the whole network has one."""
    return schedule.untimed == 1


def stock_work(site: Site, activation: nn.Module | None) -> Work | None:
    """Counts of the stock layer and of the activation behind it."""
    return work_of([site.module, activation], [site.shapes, site.output_shapes])


def choice_for(
    site: Site, activation: nn.Module | None, stem: Stem, options: Options
) -> tuple[Choice, _Layer]:
    """One kernel with its options for one layer, built."""
    fused = site.activation if site.activation and site.activation.kind in stem.activations else None
    module = stem.build(site.module, options, fused).eval()
    after = None if fused else activation
    choice = Choice(
        stem.name,
        options,
        fused,
        work=work_of_replacement(stem, module, after, site.shapes, site.output_shapes),
        extra_bytes=stem.extra_bytes(site.module, options),
        scratch_bytes=stem.scratch_bytes(site.module, options, site.shapes),
    )
    return choice, _Layer(module, after)


def _contenders(
    site: Site, activation: nn.Module | None
) -> tuple[list[Contender], dict[str, tuple[str, Choice]]]:
    """Everybody in every memory format, stock first; and contender -> its format and choice."""
    forms = (AS_GIVEN, CHANNELS_LAST) if site.inputs[0].dim() == 4 else (AS_GIVEN,)
    stock = _Layer(site.module, activation)
    contenders = [_contender(f"stock, {form}", stock, form, keep=True) for form in forms]
    choices = {}
    for stem in site.stems:
        for options in stem.options(site.module):
            choice, layer = choice_for(site, activation, stem, options)
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
        fallbacks = getattr(self.layer, "fallbacks", None)
        if fallbacks:
            raise RuntimeError(f"runs torch's own kernel: {', '.join(fallbacks)}")
        return outputs if self.activation is None else [self.activation(y) for y in outputs]


def _contender(name: str, layer: _Layer, form: str, keep: bool = False) -> Contender:
    other = form == CHANNELS_LAST

    def prepare(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return ([to_channels_last(x) for x in arguments[0]],) if other else arguments

    if other and keep:
        # The stock layer in its best form: weights in the same format. A copy, the other contender keeps its own.
        layer = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    return Contender(name, layer.run, prepare, keep, tolerance=math.inf if keep else None)


def _judge(turns: Turns, choices: dict[str, tuple[str, Choice]]) -> LayerTimes:
    times = LayerTimes(thrown_out=dict(turns.thrown_out), noise=turns.noise())
    for form in (AS_GIVEN, CHANNELS_LAST):
        stock = f"stock, {form}"
        if not turns.samples.get(stock):
            continue
        times.stock[form] = turns.time(stock)
        times.choices[form] = []
        for name in turns.ranked():
            if name not in choices or choices[name][0] != form:
                continue
            said = turns.compare(stock, name)
            times.choices[form].append(
                replace(
                    choices[name][1],
                    time=turns.time(name),
                    verdict=said.verdict,
                    speedup=said.ratio,
                    error=turns.errors.get(name),
                )
            )
    return times
