"""gk.plan and gk.optimize: look the network over, time its layers, choose, certify the whole."""

from __future__ import annotations

import datetime
import math
import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..measure.clock import Clock
from ..measure.machine import cpu_facts, version_facts
from ..measure.progress import Advance, progress_bar
from ..measure.rotation import variations
from ..report.tables import ratio
from .certify import ConversionError, Converted, Inputs, convert_within, time_networks, verdict
from .copying import copy_model, require_eval, torch_state_kept
from .layout import AS_GIVEN, CHANNELS_LAST, worth_trying
from .plans import LayerPlan, NetworkVerdict, Plan
from .request import Settings, arguments, wanted_stems
from .survey import Site, survey
from .timing import LayerTimes, time_site

# A memory format is tried on the whole network unless its layers add up to this many times those of the other one;
# generous, since the layers that no kernel is for prefer a format too.
FORMAT_MARGIN = 1.3
CHECKED_INPUTS = 3  # the example inputs, mirrored, and shifted


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
    stems = wanted_stems(objective, precision, max_error)
    settings = Settings(objective, max_error, measure, stems, time_budget, clock or Clock())
    with torch_state_kept(), torch.inference_mode(False), progress_bar("planning", progress) as advance:
        return _Planner(copy_model(model), arguments(example_inputs), settings, advance).plan()


def optimize(model: nn.Module, example_inputs: Any, **options: Any) -> nn.Module:
    """A copy of `model` that is faster where that was measured, and the stock network where it was not.

    ``plan(model, example_inputs, **options).apply(model)``; see `plan` for the options, `explain` for what was done.
    """
    return plan(model, example_inputs, **options).apply(model)


Times = dict[tuple[object, ...], LayerTimes]  # signature of a layer -> what its turns said


@dataclass
class _Planner:
    """One planning run over a copy of the network."""

    stock: nn.Module
    inputs: Inputs
    settings: Settings
    advance: Advance
    interrupted: bool = False

    def plan(self) -> Plan:
        args, kwargs = self.inputs
        sites = survey(self.stock, lambda network: network(*args, **kwargs), list(self.settings.stems))
        if os.environ.get("GREENKERNELS_DISABLE") == "1":
            for site in sites:
                site.stems, site.reason = [], "GREENKERNELS_DISABLE=1"
        if not self.settings.measure:
            return self.plan_by_rules(sites)
        times = self.time_layers([site for site in sites if site.stems])
        formats = [AS_GIVEN] + ([CHANNELS_LAST] if worth_trying(self.inputs) else [])
        drafts = {form: [self.draft(site, times, form) for site in sites] for form in formats}
        converted, problems = self.convert_drafts(sites, times, drafts)
        if not converted:
            why = "; ".join(problems) or "no layer won"
            return self.result(drafts[AS_GIVEN], False, f"kept the stock network: {why}")
        return self.certify(converted)

    def convert_drafts(
        self, sites: list[Site], times: Times, drafts: dict[str, list[LayerPlan]]
    ) -> tuple[dict[str, Converted], list[str]]:
        """Converted networks by memory format, and why others could not be made.

        A format that the layers' own times put far behind is not tried.
        """
        expected = {form: self.expected_s(sites, times, layers, form) for form, layers in drafts.items()}
        converted, problems = {}, []
        with torch.inference_mode():
            checked = [(x, self.stock(*x[0], **x[1])) for x in variations(self.inputs, CHECKED_INPUTS)]
        for form, layers in drafts.items():
            if not any(layer.stem for layer in layers) or expected[form] > FORMAT_MARGIN * min(
                expected.values()
            ):
                continue
            alternatives = {
                site.name: times[site.signature()].alternatives.get(form, [])
                for site in sites
                if site.stems and site.signature() in times
            }
            try:
                done = convert_within(
                    self.stock, layers, alternatives, form, checked, self.settings.max_error
                )
            except ConversionError as problem:
                problems.append(f"in {form}: {problem}")
                continue
            if any(layer.stem for layer in done.layers):
                converted[form] = done
            else:
                problems.append(f"in {form}: every replacement would break the error bound")
        return converted, problems

    @staticmethod
    def expected_s(sites: list[Site], times: Times, layers: list[LayerPlan], form: str) -> float:
        """Sum over the timed layers, each with what was chosen for it."""
        total = 0.0
        for site, layer in zip(sites, layers, strict=True):
            found = times.get(site.signature()) if site.stems else None
            if found is not None:
                total += layer.after.value if layer.after else found.stock[form].value
        return total

    def time_layers(self, sites: list[Site]) -> Times:
        """Signature -> times. Ctrl-C ends the timing and keeps what there is."""
        groups: dict[tuple[object, ...], Site] = {}
        for site in sites:
            groups.setdefault(site.signature(), site)
        schedule = self.settings.layer_schedule(len(groups))
        times: Times = {}
        try:
            for i, (signature, site) in enumerate(groups.items()):
                slot = site.activation.slot if site.activation else None
                activation = self.stock.get_submodule(slot) if slot is not None else None
                report = partial(self.report, 0.7, i, len(groups), site.name)
                bound, clock = self.settings.max_error, self.settings.clock
                times[signature] = time_site(site, activation, bound, schedule, clock, report)
        except KeyboardInterrupt:
            self.interrupted = True
        return times

    def report(self, weight: float, done: int, of: int, note: str, share: float) -> None:
        self.advance(weight * (done + share) / of, note)

    def draft(self, site: Site, times: Times, form: str) -> LayerPlan:
        """What becomes of one layer if the network runs in that format."""
        layer = LayerPlan(site.names, repr(site.module), reason=site.reason)
        if not site.stems:
            return layer
        found = times.get(site.signature())
        if found is None:
            layer.reason = "not measured: interrupted"
            return layer
        layer.before = found.stock.get(AS_GIVEN)
        if found.winners.get(form):
            best = found.winners[form][0]
            layer.stem, layer.options, layer.activation = best.stem, best.options, best.activation
            layer.after, layer.error = best.time, best.error
        else:
            layer.reason = self.why_none(found, form)
        return layer

    @staticmethod
    def why_none(found: LayerTimes, form: str) -> str:
        if form in found.losers:
            best = found.losers[form]
            speedup = best.comparison.ratio
            if math.isinf(speedup.high):  # one round only, then it was dropped
                return f"{best}: far slower, {speedup.value:.2f}x"
            return f"{best}: {best.comparison.verdict}, {ratio(speedup, spread=True)}"
        return "; ".join(f"{name} {reason}" for name, reason in found.thrown_out.items()) or "not measured"

    def certify(self, converted: dict[str, Converted]) -> Plan:
        networks = {form: c.network for form, c in converted.items()}
        turns = time_networks(
            self.stock,
            networks,
            self.inputs,
            self.settings.network_schedule(),
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
            with torch.inference_mode():
                checked = [(x, self.stock(*x[0], **x[1])) for x in variations(self.inputs, CHECKED_INPUTS)]
            done = convert_within(self.stock, layers, {}, AS_GIVEN, checked, self.settings.max_error)
        except ConversionError as problem:
            return self.result(layers, False, f"kept the stock network: {problem}")
        count = sum(layer.stem is not None for layer in done.layers)
        reason = (
            f"replaced {count} of {len(layers)} layers by rule"
            if count
            else "kept the stock network: no rule applies"
        )
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
