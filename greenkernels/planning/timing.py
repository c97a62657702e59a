"""Times one layer against everything that may replace it, in both memory formats, in turns."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Size, Tensor

from ..measure.provenance import Measurement
from ..measure.turns import FOREIGN_CORES, Contender, Schedule, Turns, take_turns
from ..ops.maps import empty_like_format
from .behind import Behind, LayerRun, build, fused_part
from .candidates import Chain, Options, Stem
from .joules import Work, energy, work_of, work_of_replacement
from .layout import AS_GIVEN, CHANNELS_LAST, to_channels_last
from .plans import LayerPlan
from .survey import Site

if TYPE_CHECKING:
    from .request import Settings


@dataclass(frozen=True)
class Choice:
    """A kernel with its options for one layer, and what speaks for it (None where nothing was measured).

    Attributes:
        stem, options: what `candidates.Stem.build` takes.
        chain: what of the modules behind the layer it computes too.
        time: of all calls in one forward of the network.
        verdict: "faster", "slower" or "no difference" to the stock layer in the same memory format.
        speedup: time of that stock layer over its own.
        error: relative difference to float64.
        work: counts of the layer with it, what follows included.
        extra_bytes, scratch_bytes: memory, as the stem says.
    """

    stem: str
    options: Options
    chain: Chain | None = None
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
        layer.stem, layer.options, layer.chain = self.stem, self.options, self.chain
        layer.after, layer.energy_after = self.time, energy(self.work, self.time)
        layer.error = self.error
        layer.extra_bytes, layer.scratch_bytes = self.extra_bytes, self.scratch_bytes


@dataclass
class LayerTimes:
    """What the turns said about one signature.

    Attributes:
        stock: memory format -> time of the stock layer, with what follows where that may be fused.
        choices: memory format -> what was tried and stayed in, fastest first.
        thrown_out: choice -> why it does not count.
        noise: A/A noise.
        work: counts of the stock layer, with what follows; None where they are not known.
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
    behind: Behind,
    settings: Settings,
    schedule: Schedule,
    progress: Callable[[float], None],
) -> LayerTimes:
    """Measure one layer; `behind` is what may be fused into it.

    Turns that other processes disturbed are taken again, unless there is a time budget. Candidates that err by more
    than the bound are thrown out at once: they must not outrun those that do not.
    """
    contenders, choices = _contenders(site, behind)
    exact = copy.deepcopy(LayerRun(site.module, behind)).double()
    skips = [empty_like_format(x, tuple(shape)).uniform_(-1, 1) for x, shape in _calls(site) if behind.adds]

    def turns() -> Turns:
        return take_turns(
            contenders,
            (list(site.inputs), skips),
            schedule,
            reference=lambda *maps: exact.run(*([x.double() for x in xs] for xs in maps)),
            tolerance=max(settings.bounds.max_error, rounding_of(site)),
            twin=None if long_calls(schedule) else f"stock, {AS_GIVEN}",
            clock=settings.clock,
            progress=progress,
        )

    taken = turns()
    if settings.time_budget is None and (taken.foreign_cores or 0.0) > FOREIGN_CORES:
        taken = turns()
    times = _judge(taken, choices)
    times.work = stock_work(site, behind)
    return times


def long_calls(schedule: Schedule) -> bool:
    """Long calls go without an A/A twin: their clock is no source of noise, and the whole network has one."""
    return schedule.untimed == 1


def _calls(site: Site) -> list[tuple[Tensor, Size]]:
    return list(zip(site.inputs, site.output_shapes, strict=True))


def stock_work(site: Site, behind: Behind) -> Work | None:
    """Counts of the stock layer and of the modules behind it."""
    outputs = site.output_shapes
    return work_of([site.module, behind.norm, behind.activation], [site.shapes, outputs, outputs])


def choice_for(site: Site, behind: Behind, stem: Stem, options: Options) -> tuple[Choice, LayerRun]:
    """One kernel with its options for one layer, built."""
    fused = fused_part(site.chain, stem)
    module = build(stem, site.module, options, fused, behind.norm).eval()
    rest = behind.without(fused)
    choice = Choice(
        stem.name,
        options,
        fused,
        work=work_of_replacement(stem, module, [rest.norm, rest.activation], site.shapes, site.output_shapes),
        extra_bytes=stem.extra_bytes(site.module, options),
        scratch_bytes=stem.scratch_bytes(site.module, options, site.shapes),
    )
    return choice, LayerRun(module, behind, fused)


def _contenders(site: Site, behind: Behind) -> tuple[list[Contender], dict[str, tuple[str, Choice]]]:
    """Everybody in every memory format, stock first; and contender -> its format and choice."""
    forms = (AS_GIVEN, CHANNELS_LAST) if site.inputs[0].dim() == 4 else (AS_GIVEN,)
    stock = LayerRun(site.module, behind)
    contenders = [_contender(f"stock, {form}", stock, form, keep=True) for form in forms]
    choices = {}
    for stem in site.stems:
        for options in stem.options(site.module):
            choice, layer = choice_for(site, behind, stem, options)
            for form in forms:
                choices[f"{choice}, {form}"] = (form, choice)
                contenders.append(_contender(f"{choice}, {form}", layer, form))
    return contenders, choices


def rounding_of(site: Site) -> float:
    """A layer cannot be nearer to float64 than the rounding of its own type, whatever the network's bound."""
    return 4 * torch.finfo(site.inputs[0].dtype).eps


def _contender(name: str, layer: LayerRun, form: str, keep: bool = False) -> Contender:
    other = form == CHANNELS_LAST

    def prepare(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([to_channels_last(x) for x in maps] for maps in arguments) if other else arguments

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
