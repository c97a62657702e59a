"""One planning run: look the network over, time its layers, choose, certify the whole."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from ..measure.machine import cpu_facts, version_facts
from ..measure.progress import Advance
from ..measure.provenance import Measurement
from . import records
from .behind import Behind
from .blocks import BlockSite, draft_blocks, time_block
from .cache import now
from .certify import ConversionError, Converted, convert_within, fastest_form, time_networks, verdict
from .counters import put_measured_joules
from .drafts import Times, draft, expected_s, keep_within_memory, times_of_site
from .joules import energy, on_cuda
from .layout import AS_GIVEN, CHANNELS_LAST, worth_trying
from .links import link_layers, linked, note_slower
from .objective import looks_better, network_wins
from .plans import LayerPlan, NetworkVerdict, Plan
from .quality import Inputs, Judge
from .request import Settings
from .rules import drafts_by_rule
from .schedules import Budget, layer_schedule, network_schedule, traffic_between
from .survey import Site, survey
from .timing import Choice, LayerTimes, time_site
from .work import NetworkWork

# A memory format is tried on the whole network unless its layers add up to this many times those of the other one;
# the layers that no kernel is for prefer a format too, so a smaller lead decides nothing.
FORMAT_MARGIN = 1.15
INTERRUPTED = "not measured: interrupted"
LAYERS, WHOLE = 0.7, 0.3  # shares of the progress bar


@dataclass
class Planner:
    """One planning run over a copy of the network."""

    stock: nn.Module
    inputs: Inputs
    settings: Settings
    advance: Advance
    budget: Budget
    sites: list[Site] = field(default_factory=list)
    work: NetworkWork = field(default_factory=NetworkWork)
    times: Times = field(default_factory=dict)
    unmeasured: str = INTERRUPTED
    between: int = 0  # bytes, see `schedules.traffic_between`
    interrupted: bool = False
    cached_layers: list[str] = field(default_factory=list)  # dates of the entries that were used

    def plan(self) -> Plan:
        """The whole of it. Ctrl-C ends it early, with what was measured until then."""
        args, kwargs = self.inputs
        begin, self.between = self.settings.clock.now(), traffic_between(self.stock)
        self.sites, self.work = survey(
            self.stock,
            lambda network: network(*args, **kwargs),
            list(self.settings.stems),
            self.settings.clock,
        )
        self.budget.forward_s = self.settings.clock.now() - begin
        if os.environ.get("GREENKERNELS_DISABLE") == "1":
            for site in self.sites:
                site.stems, site.reason = [], "GREENKERNELS_DISABLE=1"
        if not any(site.stems for site in self.sites):
            layers = [LayerPlan(site.names, repr(site.module), reason=site.reason) for site in self.sites]
            return self.result(layers, False, "kept the stock network: no layer has a kernel that fits")
        if not self.settings.measure:
            return self.plan_by_rules()
        drafts: dict[str, list[LayerPlan]] = {}
        try:
            self.time_layers([site for site in self.sites if site.stems])
            formats = [AS_GIVEN] + ([CHANNELS_LAST] if worth_trying(self.inputs) else [])
            drafts = {form: [self.draft(site, form) for site in self.sites] for form in formats}
            draft_blocks(self.stock, self.sites, drafts, self.settings, self.times_of_block)
            return self.choose(drafts)
        except KeyboardInterrupt:
            self.interrupted = True
            layers = drafts.get(AS_GIVEN) or [self.draft(site, AS_GIVEN) for site in self.sites]
            return self.result(layers, False, "kept the stock network: nothing was certified")

    def choose(self, drafts: dict[str, list[LayerPlan]]) -> Plan:
        """Convert, and certify what holds the bounds."""
        judge = Judge(self.stock, self.inputs, self.settings.bounds)
        converted, problems = self.convert_drafts(drafts, judge)
        replaced = {
            form: done for form, done in converted.items() if any(layer.stem for layer in done.layers)
        }
        if replaced:
            return self.certify(replaced)
        why = "; ".join(problems) or "no layer won"
        tried = next((done.layers for done in converted.values()), drafts[AS_GIVEN])
        return self.result(tried, False, f"kept the stock network: {why}")

    def time_layers(self, sites: list[Site]) -> None:
        """Times of every kind of layer, those that take longest first. Ctrl-C ends it and keeps what there is."""
        groups: dict[tuple[object, ...], list[Site]] = {}
        for site in sites:
            groups.setdefault(site.signature(), []).append(site)
        order = sorted(groups, key=lambda signature: -sum(site.seconds for site in groups[signature]))
        try:
            for i, signature in enumerate(order):
                site = groups[signature][0]
                report = partial(self.report, i, len(order), site.name)
                found = self.times_of(site, report)
                if found is None:
                    self.unmeasured = self.settings.spent
                else:
                    self.times[signature] = found
        except KeyboardInterrupt:
            self.interrupted = True
            self.unmeasured = INTERRUPTED

    def report(self, done: int, of: int, note: str, share: float) -> None:
        self.advance(LAYERS * (done + share) / of, note)

    def times_of(self, site: Site, report) -> LayerTimes | None:
        behind = self.behind(site)
        key = records.layer_key(site, behind, self.settings, self.between)
        return self.timed(site, key, partial(time_site, site, behind, self.settings, progress=report))

    def times_of_block(self, site: BlockSite) -> LayerTimes | None:
        key = [*site.key(), self.settings.bounds.max_error, self.between]
        self.advance(LAYERS, site.sites[-1].name)
        return self.timed(site, key, partial(time_block, site, self.settings))

    def timed(self, site: Site | BlockSite, key: object, measure) -> LayerTimes | None:
        """From the cache, or measured now; None where the time budget does not reach so far."""
        found = records.read_times(self.settings.cache, key)
        if found is not None:
            self.cached_layers.append(found.date)
            return found
        schedule = layer_schedule(site, self.budget, self.between)
        if schedule is None:
            return None
        found = measure(schedule)
        if self.settings.time_budget is None:  # times taken in a hurry are no use to others
            records.write_times(self.settings.cache, key, found)
        return found

    def behind(self, site: Site) -> Behind:
        return Behind.of(self.stock, site.chain)

    def found(self, site: Site) -> LayerTimes | None:
        """What was measured of layers like this one."""
        times = self.times.get(site.signature()) if site.stems else None
        return None if times is None else times_of_site(times, site)

    def draft(self, site: Site, form: str) -> LayerPlan:
        return draft(site, self.found(site), form, self.settings.objective, self.unmeasured)

    def alternatives(self, form: str) -> dict[str, list[Choice]]:
        """Layer -> what else may stand in there, best first."""
        found = {site.name: self.found(site) for site in self.sites if site.stems}
        return {
            name: looks_better(times, form, self.settings.objective)
            for name, times in found.items()
            if times is not None and form in times.stock
        }

    def convert_drafts(
        self, drafts: dict[str, list[LayerPlan]], judge: Judge
    ) -> tuple[dict[str, Converted], list[str]]:
        """Converted networks by memory format, and why others could not be made or have nothing left to replace.

        A format that the layers' own times put far behind is not tried.
        """
        expected = {form: expected_s(self.sites, self.times, layers, form) for form, layers in drafts.items()}
        converted, problems = {}, []
        for form, layers in drafts.items():
            far_behind = expected[form] > FORMAT_MARGIN * min(expected.values())
            if far_behind or not any(layer.stem for layer in layers):
                continue
            try:
                done = self.convert(layers, self.alternatives(form), form, judge)
            except ConversionError as problem:
                if self.settings.strict:
                    raise
                problems.append(f"in {form}: {problem}")
                continue
            converted[form] = done
            if together := link_layers(self.stock, done, self.sites, judge):
                converted[linked(form)] = together
            if not any(layer.stem for layer in done.layers):
                problems.append(f"in {form}: every replacement would break a bound")
        return converted, problems

    def convert(
        self, layers: list[LayerPlan], alternatives: dict[str, list[Choice]], form: str, judge: Judge
    ) -> Converted:
        alternatives = keep_within_memory(layers, alternatives, self.settings.max_memory)
        return convert_within(self.stock, layers, alternatives, form, judge)

    def certify(self, converted: dict[str, Converted]) -> Plan:
        """Time the whole networks, or take the verdict on the same ones from the cache."""
        settings = self.settings
        key = records.verdict_key(self.stock, self.inputs, {f: c.layers for f, c in converted.items()})
        form, network, date = records.read_verdict(settings.cache, key) or (None, None, "")
        if form not in converted:
            turns = time_networks(
                self.stock,
                {form: c.network for form, c in converted.items()},
                self.inputs,
                network_schedule(self.budget, len(converted)),
                settings.clock,
                lambda share: self.advance(LAYERS + WHOLE * share, "the whole network"),
                again=settings.time_budget is None,
            )
            form = fastest_form(turns, list(converted))
            network = verdict(turns, form)
            if settings.time_budget is None and not network.undecided:
                records.write_verdict(settings.cache, key, form, network)
        note_slower(converted, form)
        return self.accept(converted[form], network, date)

    def accept(self, done: Converted, network: NetworkVerdict, date: str) -> Plan:
        """Say yes or no."""
        network.error, network.drop = done.found.error, done.found.drop
        self.add_energy(network, done, network.best_stock)
        if self.settings.objective != "latency" and self.settings.time_budget is None:
            self.advance(LAYERS + WHOLE, "joules of the whole network")
            both = self.stock, done.network
            put_measured_joules(network, done.layers, both, self.inputs, self.settings.clock)
        count = sum(layer.stem is not None for layer in done.layers)
        joules = network.energy_before, network.energy_after
        won = network_wins(self.settings.objective, network.word, *joules, network.speedup)
        reason = f"replaced {count} of {len(done.layers)} layers"
        if not won:
            better = "faster" if self.settings.objective == "latency" else "better"
            why = f"with {count} layers replaced it was not {better} ({network.word})"
            reason = f"kept the stock network: {why}"
        return self.result(done.layers, won, reason, done.memory_format, network, date)

    def add_energy(self, network: NetworkVerdict, done: Converted, stock: Measurement | None) -> None:
        """J of both networks, where the same modules are counted in both."""
        if on_cuda(self.stock):
            return
        network.uncounted = tuple(sorted(self.work.uncounted))
        if set(done.work.uncounted) == set(self.work.uncounted):
            network.energy_before = energy(self.work.counts, stock)
            network.energy_after = energy(done.work.counts, network.converted)

    def plan_by_rules(self) -> Plan:
        """Cold start: the stems' own rules, no clock; the bounds hold all the same."""
        layers = drafts_by_rule(self.sites, self.behind)
        judge = Judge(self.stock, self.inputs, self.settings.bounds)
        try:
            done = self.convert(layers, {}, AS_GIVEN, judge)
            done = link_layers(self.stock, done, self.sites, judge) or done
        except ConversionError as problem:
            if self.settings.strict:
                raise
            return self.result(layers, False, f"kept the stock network: {problem}")
        count = sum(layer.stem is not None for layer in done.layers)
        reason = f"replaced {count} of {len(layers)} layers by rule"
        network = NetworkVerdict(error=done.found.error, drop=done.found.drop)
        self.add_energy(network, done, None)
        if not count:
            reason = "kept the stock network: no rule applies within the bounds"
        return self.result(done.layers, count > 0, reason, AS_GIVEN, network)

    def result(
        self,
        layers: list[LayerPlan],
        accepted: bool,
        reason: str,
        form: str = AS_GIVEN,
        network: NetworkVerdict | None = None,
        verdict_date: str = "",
    ) -> Plan:
        """What the caller gets."""
        settings = self.settings
        about = {"cpu": cpu_facts()["name"], "versions": version_facts(), "date": now()}
        about |= {"gpu": torch.cuda.get_device_name()} if on_cuda(self.stock) else {}
        if self.cached_layers:
            about |= {"cached_layers": len(self.cached_layers), "cached_since": min(self.cached_layers)}
        if verdict_date:
            about["cached_network"] = verdict_date
        return Plan(
            layers=layers,
            accepted=accepted,
            reason=reason + (" (interrupted: some layers were not measured)" if self.interrupted else ""),
            memory_format=form if accepted else AS_GIVEN,
            objective=settings.objective,
            max_error=settings.bounds.max_error,
            max_drop=settings.bounds.max_drop if settings.bounds.metric else None,
            measured=settings.measure,
            strict=settings.strict,
            threads=torch.get_num_threads(),
            network=network or NetworkVerdict(),
            about=about,
        )
