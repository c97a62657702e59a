"""Blocks of layers in one call: timed in turns against the stock layers and against what was chosen for each of them.

A block is taken only where it is better than both. Its layers keep rows of their own in the plan; the last one has the
time of the whole.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..measure.compare import Comparison
from ..measure.turns import FOREIGN_CORES, Contender, Schedule, Turns, take_turns
from ..ops.maps import empty_like_format
from .behind import Behind, LayerRun, build, join
from .candidates import Block, Stem, named
from .drafts import why_none
from .joules import Work, energy, work_of_replacement
from .layout import AS_GIVEN, CHANNELS_LAST, to_channels_last
from .objective import admissible
from .plans import LayerPlan
from .request import Settings
from .survey import Site
from .timing import Choice, LayerTimes, choice_for, rounding_of, stock_work

STOCK, BY_LAYERS, BLOCK = "stock", "layer by layer", "block"
DROP_BEYOND = 2.0  # few contenders, and near each other: one disturbed round is not to decide


@dataclass
class BlockSite:
    """A block of the network, and what becomes of its layers without it.

    Attributes:
        block: which layers.
        sites: of its layers, in order.
        stem: what computes it.
        behind: of each layer, what follows it within the block.
        drafts: memory format -> plans of its layers.
    """

    block: Block
    sites: list[Site]
    stem: Stem
    behind: list[Behind]
    drafts: dict[str, list[LayerPlan]]

    @property
    def stems(self) -> list[Stem]:
        """Of the layers, in order."""
        return [named(name) for name in self.stem.before[-(len(self.sites) - 1) :]] + [self.stem]

    @property
    def contenders(self) -> int:
        return 7

    @property
    def calls(self) -> int:
        return self.sites[0].calls

    @property
    def seconds(self) -> float:
        return sum(site.seconds for site in self.sites)

    def key(self) -> list[object]:
        """What its times depend on; blocks with equal keys take equal time."""
        kernels = {
            form: [[layer.stem, layer.options, str(layer.chain)] for layer in layers]
            for form, layers in self.drafts.items()
        }
        behind = [[b.norm is not None, b.adds, repr(b.activation)] for b in self.behind]
        return ["block", self.stem.name, [site.signature() for site in self.sites], behind, kernels]


class _Run(nn.Module):
    """Layers one after the other on the inputs of all calls of one forward, each with what follows it."""

    def __init__(self, layers: Sequence[LayerRun]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def run(self, inputs: list[Tensor], skips: list[Tensor]) -> list[Tensor]:
        for layer in self.layers:
            inputs = layer.run(inputs, skips if layer.adds else [])
        return inputs


class _BlockRun(_Run):
    """The same in one call."""

    def run(self, inputs: list[Tensor], skips: list[Tensor]) -> list[Tensor]:
        end = self.layers[-1].layer
        if not end.is_one_call(inputs[0]) or end.packed_arguments() is None:
            raise RuntimeError("runs its layers one by one")
        return [end(x, *skips[i : i + 1], block=True) for i, x in enumerate(inputs)]


def time_block(site: BlockSite, settings: Settings, schedule: Schedule) -> LayerTimes:
    """Measure one block; as `timing.time_site`, with the faster of its rivals as the stock layer."""
    contenders, choice, work = _contenders(site)
    exact = copy.deepcopy(_stock(site)).double()
    last = site.sites[-1]
    skips = []
    if site.behind[-1].adds:
        calls = zip(last.inputs, last.output_shapes, strict=True)
        skips = [empty_like_format(x, tuple(shape)).uniform_(-1, 1) for x, shape in calls]

    def turns() -> Turns:
        return take_turns(
            contenders,
            (list(site.sites[0].inputs), skips),
            replace(schedule, drop_beyond=DROP_BEYOND),
            reference=lambda *maps: exact.run(*([x.double() for x in xs] for xs in maps)),
            tolerance=max(settings.bounds.max_error, len(site.sites) * rounding_of(last)),
            twin=f"{STOCK}, {AS_GIVEN}",
            clock=settings.clock,
        )

    taken = turns()
    if settings.time_budget is None and (taken.foreign_cores or 0.0) > FOREIGN_CORES:
        taken = turns()
    times = _judge(taken, choice)
    times.work = work
    return times


def _stock(site: BlockSite) -> _Run:
    return _Run([LayerRun(s.module, behind) for s, behind in zip(site.sites, site.behind, strict=True)])


def _by_layers(site: BlockSite, form: str) -> tuple[_Run, Work | None]:
    """What was chosen for each layer by itself, what of its chain that leaves over follows it; and its counts."""
    runs, works = [], []
    for s, behind, layer in zip(site.sites, site.behind, site.drafts[form], strict=True):
        if layer.stem is None:
            run, work = LayerRun(s.module, behind), stock_work(s, behind)
        else:
            choice, run = choice_for(s, behind, named(layer.stem), layer.options)
            work = choice.work
        runs.append(run)
        works.append(work)
    return _Run(runs), None if None in works else tuple(part for work in works for part in work)


def _least(works: Sequence[Work | None]) -> Work | None:
    """Of all rivals those counts that need the fewest joules; None where one is uncounted."""
    joules = [energy(work, None) for work in works]
    return None if None in joules else min(zip(works, joules, strict=True), key=lambda each: each[1].value)[0]


def _in_one_call(site: BlockSite) -> tuple[_BlockRun, Choice]:
    parts = zip(site.stems, site.sites, site.block.chains, site.behind, strict=True)
    layers = [build(stem, s.module, {}, chain, behind.norm).eval() for stem, s, chain, behind in parts]
    join(layers)
    last = site.sites[-1]
    shapes = site.sites[0].shapes
    choice = Choice(
        site.stem.name,
        {},
        work=work_of_replacement(site.stem, layers[-1], [], shapes, last.output_shapes),
        extra_bytes=site.stem.extra_bytes(last.module, {}),
        scratch_bytes=site.stem.scratch_bytes(last.module, {}, shapes),
    )
    runs = [
        LayerRun(m, behind, c) for m, behind, c in zip(layers, site.behind, site.block.chains, strict=True)
    ]
    return _BlockRun(runs), choice


def _contenders(site: BlockSite) -> tuple[list[Contender], Choice, Work | None]:
    """Everybody in both memory formats, the block as a choice, and the counts that it has to undercut."""
    forms = (AS_GIVEN, CHANNELS_LAST)
    stock, (block, choice) = _stock(site), _in_one_call(site)
    contenders, works = [], []
    for form in forms:
        other = copy.deepcopy(stock).to(memory_format=torch.channels_last) if form != AS_GIVEN else stock
        runs: dict[str, _Run] = {STOCK: other}
        if form in site.drafts:
            by_layers, work = _by_layers(site, form)
            works.append(work)
            if any(layer.stem for layer in site.drafts[form]):
                runs[BY_LAYERS] = by_layers
        if form in site.drafts:
            runs[BLOCK] = block
        contenders += [_contender(name, run, form) for name, run in runs.items()]
    return contenders, choice, _least(works)


def _contender(name: str, run: _Run, form: str) -> Contender:
    def prepare(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([to_channels_last(x) for x in maps] for maps in arguments)

    keep = name != BLOCK
    prepared = {} if form == AS_GIVEN else {"prepare": prepare}
    return Contender(f"{name}, {form}", run.run, keep=keep, tolerance=math.inf if keep else None, **prepared)


def _judge(turns: Turns, choice: Choice) -> LayerTimes:
    times = LayerTimes(noise=turns.noise())
    ranked = turns.ranked()
    for form in (AS_GIVEN, CHANNELS_LAST):
        rivals = [name for name in ranked if name in (f"{STOCK}, {form}", f"{BY_LAYERS}, {form}")]
        block = f"{BLOCK}, {form}"
        if not rivals:
            continue
        times.stock[form] = turns.time(rivals[0])
        times.choices[form] = []
        if block in turns.thrown_out:
            times.thrown_out[f"{choice}, {form}"] = turns.thrown_out[block]
        elif block in ranked:
            said = _compare(turns, rivals, block, f"{BY_LAYERS}, {form}")
            timed = replace(choice, time=turns.time(block), verdict=said.verdict, speedup=said.ratio)
            times.choices[form].append(replace(timed, error=turns.errors.get(block)))
    return times


def _compare(turns: Turns, rivals: Sequence[str], block: str, by_layers: str) -> Comparison:
    """With the fastest rival, or, where that is the same kernels one by one and not known to be faster, with the next.

    Turns do not see all that one call saves: calls from Python between kernels that leave nothing in the caches, and
    those of blocks behind each other, which become one.
    """
    said = turns.compare(rivals[0], block)
    ties = rivals[0] == by_layers and said.verdict != "slower"
    return turns.compare(rivals[1], block) if ties and len(rivals) > 1 else said


def draft_blocks(
    model: nn.Module,
    sites: Sequence[Site],
    drafts: Mapping[str, list[LayerPlan]],
    settings: Settings,
    times_of: Callable[[BlockSite], LayerTimes | None],
) -> None:
    """Put every block that wins into the drafts of its layers, and at other depthwise convolutions the reason.

    Args:
        model: the network that the sites are from.
        drafts: memory format -> what becomes of each layer, in the order of `sites`; changed in place.
        times_of: of a block; None where the time budget does not reach so far.
    """
    for site in sites:
        if site.no_block:
            for of_form in drafts.values():
                _refuse(of_form[sites.index(site)], site.no_block)
    known: dict[str, LayerTimes | None] = {}
    for block in _blocks(model, sites, drafts, settings):
        key = repr(block.key())
        if key not in known:
            known[key] = times_of(block)
        for form in drafts:
            take_block(block, known[key], form, settings)


def _blocks(
    model: nn.Module, sites: Sequence[Site], drafts: Mapping[str, list[LayerPlan]], settings: Settings
) -> list[BlockSite]:
    at = {site.name: i for i, site in enumerate(sites)}
    found = []
    for site in sites:
        if site.block is None:
            continue
        places = [at[name] for name in site.block.layers]
        stem = next(stem for stem in settings.stems if stem.before)
        behind = [Behind.of(model, chain) for chain in site.block.chains]
        of_layers = {form: [of_form[i] for i in places] for form, of_form in drafts.items()}
        found.append(BlockSite(site.block, [sites[i] for i in places], stem, behind, of_layers))
    return found


def take_block(site: BlockSite, found: LayerTimes | None, form: str, settings: Settings) -> None:
    """Put the block into the drafts of its layers in that format, or there the reason why not."""
    layers = site.drafts[form]
    choices = [] if found is None else admissible(found, form, settings.objective)
    if not choices:
        why = settings.spent if found is None else why_none(found, form, settings.objective)
        _refuse(layers[-2], why)
        return
    names = tuple(layer.names[0] for layer in layers)
    for layer, s, stem, chain in zip(layers, site.sites, site.stems, site.block.chains, strict=True):
        layer.stem, layer.options, layer.chain, layer.block = stem.name, {}, chain, names
        layer.after = layer.energy_after = layer.error = None
        layer.extra_bytes, layer.scratch_bytes = stem.extra_bytes(s.module, {}), 0
        layer.reason = f"runs in the block that ends in {names[-1]}"
    choices[0].put_into(layers[-1])
    layers[-1].chain = site.block.chains[-1]
    layers[-1].reason = f"times and joules are those of {len(layers)} layers, from {names[0]} on"


def _refuse(layer: LayerPlan, why: str) -> None:
    """Say at a depthwise convolution why it is in no block."""
    layer.reason = "; ".join(filter(None, (layer.reason, f"no block: {why}")))
