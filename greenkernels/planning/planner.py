"""gk.plan and gk.optimize: look the network over, time its layers, choose, certify the whole."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..measure.clock import Clock
from ..measure.machine import cpu_facts, version_facts
from ..measure.progress import Advance, progress_bar
from ..measure.turns import Schedule
from .candidates import Stem, registered
from .certify import ConversionError, Converted, Inputs, convert_within, time_networks, verdict
from .copying import copy_model, require_eval, torch_state_kept
from .layout import AS_GIVEN, CHANNELS_LAST, worth_trying
from .plans import LayerPlan, NetworkVerdict, Plan
from .survey import Site, survey
from .timing import Choice, LayerTimes, time_site

OBJECTIVES = ("latency",)

# Long enough for a verdict on layers of 0.1 to 30 ms, short enough for a network of 20 different ones.
LAYER_BUDGET_S, NETWORK_BUDGET_S = 1.5, 6.0
LAYER_SCHEDULE = Schedule(rounds=9, min_rounds=3, drop_beyond=1.5, pause_s=0.003, budget_s=LAYER_BUDGET_S)
NETWORK_SCHEDULE = Schedule(rounds=9, min_rounds=3, drop_beyond=1.3, budget_s=NETWORK_BUDGET_S)


@dataclass(frozen=True)
class Settings:
    """What the caller asked for; see `plan`."""

    objective: str
    max_error: float
    measure: bool
    stems: tuple[Stem, ...]
    layer_schedule: Schedule
    network_schedule: Schedule
    clock: Clock


def plan(
    model: nn.Module,
    example_inputs: Tensor | tuple[Any, ...] | list[Any] | dict[str, Any],
    *,
    objective: str = "latency",
    max_error: float = 1e-5,
    precision: str | set[str] = "float32",
    measure: bool = True,
    time_budget: float | None = None,
    progress: bool = True,
    clock: Clock | None = None,
) -> Plan:
    """Find out which layers of a network run faster with another kernel. Changes nothing.

    A layer is replaced only where it won beyond noise, and a plan is accepted only if the whole converted network
    won against the stock one (in NCHW and in channels_last, whichever is faster) in turns of their own.

    Args:
        model: in eval mode, on the CPU; it is copied, never changed.
        example_inputs: what ``model`` is called with: a tensor, a tuple of arguments, or a dict of keyword arguments.
        objective: "latency".
        max_error: bound on ||y - y_ref|| / ||y_ref|| of the whole network.
        precision: "float32", or the names of the kernels that may be used.
        measure: False chooses by rules without timing: the same plan on every machine.
        time_budget: seconds to spend on timing, about; None for as long as verdicts take.
        progress: show a bar where it takes longer than two seconds.
        clock: where seconds come from; for tests.

    Raises:
        ValueError: the model is in training mode, or an argument is out of range.
    """
    require_eval(model, "plan")
    stems = _wanted_stems(objective, precision, max_error)
    layer_schedule, network_schedule = LAYER_SCHEDULE, NETWORK_SCHEDULE
    if time_budget is not None:
        layer_schedule = Schedule(**{**vars(LAYER_SCHEDULE), "budget_s": time_budget})
        network_schedule = Schedule(**{**vars(NETWORK_SCHEDULE), "budget_s": 0.4 * time_budget})
    settings = Settings(
        objective, max_error, measure, stems, layer_schedule, network_schedule, clock or Clock()
    )
    with torch_state_kept(), torch.inference_mode(False), progress_bar("planning", progress) as advance:
        return _Planner(copy_model(model), _arguments(example_inputs), settings, time_budget, advance).plan()


def optimize(model: nn.Module, example_inputs: Any, **options: Any) -> nn.Module:
    """A copy of `model` that is faster where that was measured, and the stock network where it was not.

    ``plan(model, example_inputs, **options).apply(model)``; see `plan` for the options, `explain` for what was done.
    """
    return plan(model, example_inputs, **options).apply(model)


def _wanted_stems(objective: str, precision: str | set[str], max_error: float) -> tuple[Stem, ...]:
    if objective not in OBJECTIVES:
        raise ValueError(f"plan: objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if not max_error > 0:
        raise ValueError(f"plan: max_error must be positive, got {max_error}")
    if precision == "float32":
        return tuple(stem for stem in registered() if not stem.lossy)
    names = {stem.name for stem in registered()}
    if isinstance(precision, str) or not set(precision) <= names:
        raise ValueError(f"plan: precision must be 'float32' or a set out of {sorted(names)}, got {precision!r}")
    return tuple(stem for stem in registered() if stem.name in precision)


def _arguments(example_inputs: Any) -> Inputs:
    if isinstance(example_inputs, Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, dict):
        return (), dict(example_inputs)
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    kind = type(example_inputs).__name__
    raise ValueError(f"plan: example_inputs must be a tensor, a tuple or a dict, got {kind}")


@dataclass
class _Planner:
    """One planning run over a copy of the network."""

    stock: nn.Module
    inputs: Inputs
    settings: Settings
    time_budget: float | None
    advance: Advance
    interrupted: bool = False

    def plan(self) -> Plan:
        args, kwargs = self.inputs
        sites = survey(self.stock, lambda network: network(*args, **kwargs), list(self.settings.stems))
        if os.environ.get("GREENKERNELS_DISABLE", "0") not in ("", "0"):
            for site in sites:
                site.stems, site.reason = [], "GREENKERNELS_DISABLE is set"
        if not self.settings.measure:
            return self.plan_by_rules(sites)
        times = self.time_layers([site for site in sites if site.stems])
        formats = [AS_GIVEN] + ([CHANNELS_LAST] if worth_trying(self.inputs) else [])
        drafts = {form: [self.draft(site, times, form) for site in sites] for form in formats}
        converted: dict[str, Converted] = {}
        problems: list[str] = []
        for form, layers in drafts.items():
            if not any(layer.stem for layer in layers):
                continue
            try:
                converted[form] = self.convert(sites, times, layers, form)
            except ConversionError as problem:
                problems.append(f"in {form}: {problem}")
        converted = {f: c for f, c in converted.items() if any(layer.stem for layer in c.layers)}
        if not converted:
            why = "; ".join(["no layer won" if not problems else "", *problems]).strip("; ")
            return self.result(drafts[AS_GIVEN], False, f"kept the stock network: {why}")
        return self.certify(drafts[AS_GIVEN], converted)

    def time_layers(self, sites: list[Site]) -> dict[tuple[object, ...], LayerTimes]:
        """Signature -> times. Ctrl-C ends the timing and keeps what there is."""
        groups: dict[tuple[object, ...], Site] = {}
        for site in sites:
            groups.setdefault(site.signature(), site)
        schedule = self.settings.layer_schedule
        if self.time_budget is not None:
            share = 0.6 * self.time_budget / max(1, len(groups))
            schedule = Schedule(**{**vars(schedule), "budget_s": share})
        times: dict[tuple[object, ...], LayerTimes] = {}
        try:
            for i, (signature, site) in enumerate(groups.items()):
                slot = site.activation.slot if site.activation else None
                activation = self.stock.get_submodule(slot) if slot is not None else None
                report = partial(self.report, 0.7, i, len(groups), site.name)
                times[signature] = time_site(site, activation, schedule, self.settings.clock, report)
        except KeyboardInterrupt:
            self.interrupted = True
        return times

    def report(self, weight: float, done: int, of: int, note: str, share: float) -> None:
        self.advance(weight * (done + share) / of, note)

    def draft(self, site: Site, times: dict[tuple[object, ...], LayerTimes], form: str) -> LayerPlan:
        """What becomes of one layer if the network runs in that format."""
        layer = LayerPlan(site.names, repr(site.module), reason=site.reason)
        if not site.stems:
            return layer
        found = times.get(site.signature())
        if found is None:
            layer.reason = "not measured: interrupted"
            return layer
        layer.before = found.stock.get(AS_GIVEN)
        allowed = self.allowed_error(site)
        fitting = [c for c in found.winners.get(form, []) if c.error is not None and c.error <= allowed]
        if fitting:
            best = fitting[0]
            layer.stem, layer.options, layer.activation = best.stem, best.options, best.activation
            layer.after, layer.error = best.time, best.error
        else:
            layer.reason = self.why_none(found, form, allowed)
        return layer

    def allowed_error(self, site: Site) -> float:
        """A layer of half precision cannot be nearer to float64 than its own rounding, whatever the network's bound."""
        return max(self.settings.max_error, 4 * torch.finfo(site.inputs[0].dtype).eps)

    @staticmethod
    def why_none(found: LayerTimes, form: str, allowed: float) -> str:
        if found.winners.get(form):
            best = found.winners[form][0]
            return f"{best} would err by {best.error:.1e}, allowed {allowed:.1e}"
        if form in found.losers:
            best = found.losers[form]
            low, high = best.comparison.ratio.low, best.comparison.ratio.high
            return f"{best}: {best.comparison.verdict}, {best.comparison.ratio.value:.2f}x [{low:.2f}, {high:.2f}]"
        return "; ".join(f"{name} {reason}" for name, reason in found.thrown_out.items()) or "not measured"

    def convert(
        self,
        sites: list[Site],
        times: dict[tuple[object, ...], LayerTimes],
        layers: list[LayerPlan],
        form: str,
    ) -> Converted:
        alternatives: dict[str, list[Choice]] = {}
        for site in sites:
            if site.stems and site.signature() in times:
                alternatives[site.name] = times[site.signature()].winners.get(form, [])
        return convert_within(self.stock, layers, alternatives, form, self.inputs, self.settings.max_error)

    def certify(self, kept: list[LayerPlan], converted: dict[str, Converted]) -> Plan:
        networks = {form: c.network for form, c in converted.items()}
        turns = time_networks(
            self.stock,
            networks,
            self.inputs,
            self.settings.network_schedule,
            self.settings.clock,
            lambda share: self.advance(0.7 + 0.3 * share, "the whole network"),
            worth_trying(self.inputs),
        )
        ranked = [name.removeprefix("converted, ") for name in turns.ranked() if name.startswith("converted")]
        form = ranked[0] if ranked else next(iter(converted))
        network, word = verdict(turns, form, converted[form].error)
        layers = converted[form].layers
        count = sum(layer.stem is not None for layer in layers)
        if word == "faster":
            return self.result(layers, True, f"replaced {count} of {len(layers)} layers", form, network)
        reason = f"kept the stock network: with {count} layers replaced it was not faster ({word})"
        return self.result(layers, False, reason, form, network)

    def plan_by_rules(self, sites: list[Site]) -> Plan:
        """Cold start: the stems' own rules, no clock; the error bound holds all the same."""
        layers = []
        for site in sites:
            layer = LayerPlan(site.names, repr(site.module), reason=site.reason)
            for stem in site.stems:
                options = stem.cold_start(site.module, [x.shape for x in site.inputs])
                if isinstance(options, str):
                    layer.reason = options
                    continue
                layer.stem, layer.options, layer.reason = stem.name, options, "by rule, not measured"
                if site.activation and site.activation.kind in stem.activations:
                    layer.activation = site.activation
                break
            layers.append(layer)
        try:
            done = convert_within(self.stock, layers, {}, AS_GIVEN, self.inputs, self.settings.max_error)
        except ConversionError as problem:
            return self.result(layers, False, f"kept the stock network: {problem}")
        count = sum(layer.stem is not None for layer in done.layers)
        reason = f"replaced {count} of {len(layers)} layers by rule" if count else "kept the stock network: no rule applies"
        return self.result(done.layers, count > 0, reason, AS_GIVEN, NetworkVerdict(error=done.error))

    def result(
        self,
        layers: list[LayerPlan],
        accepted: bool,
        reason: str,
        form: str = AS_GIVEN,
        network: NetworkVerdict | None = None,
    ) -> Plan:
        return Plan(
            layers=layers,
            accepted=accepted,
            reason=reason + (" (interrupted: some layers were not measured)" if self.interrupted else ""),
            memory_format=form if accepted else AS_GIVEN,
            objective=self.settings.objective,
            max_error=self.settings.max_error,
            measured=self.settings.measure,
            threads=torch.get_num_threads(),
            network=network or NetworkVerdict(),
            about={
                "cpu": cpu_facts()["name"],
                "versions": version_facts(),
                "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            },
        )
