"""Measures against budget.json: which entry a kernel has, and where it is over."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from resources import Resources, Toolchain
from sass import Listing, mix

Measure = float | int | None


@dataclass(frozen=True)
class Verdict:
    """One kernel on one architecture.

    Attributes:
        kernel: a short name, template arguments included.
        architecture: such as 80.
        measures: name -> number.
        breaches: of the budget, in words.
    """

    kernel: str
    architecture: int
    measures: dict[str, Measure]
    breaches: list[str] = field(default_factory=list)


def judge(
    budget: dict, toolchain: Toolchain, architecture: int, name: str, used: Resources, listing: Listing
) -> Verdict:
    """Measures a kernel and holds it against its entry, which may set other limits than those of every kernel."""
    entry = next((entry for entry in budget["kernels"] if re.search(entry["kernel"], name)), None)
    measures: dict[str, Measure] = {
        "registers": used.registers,
        "spill_bytes": used.spill_bytes + used.stack_bytes,
        **mix(listing.hottest()),
    }
    if entry is None:
        return Verdict(short_name(name), architecture, measures, ["budget.json has no entry for it"])
    dynamic = entry.get("dynamic_shared_bytes", 0)
    measures["occupancy"] = toolchain.occupancy(architecture, entry["threads"], used, dynamic)
    everywhere = budget["every_kernel"]
    own = {which: {**everywhere.get(which, {}), **entry.get(which, {})} for which in ("max", "min")}
    breaches = breaches_of(measures, own)
    return Verdict(short_name(name), architecture, measures, breaches)


def breaches_of(measures: dict[str, Measure], limits: dict) -> list[str]:
    """Where measures are over ``limits["max"]`` or under ``limits["min"]``; one that is not there is under."""
    found = []
    for name, limit in limits.get("max", {}).items():
        value = measures[name]
        if value is not None and value > limit:
            found.append(f"{name} must be at most {limit}, got {value:.3g}")
    for name, limit in limits.get("min", {}).items():
        value = measures[name]
        if value is None or value < limit:
            found.append(
                f"{name} must be at least {limit}, got {'none' if value is None else f'{value:.3g}'}"
            )
    return found


def judge_simulation(entry: dict, ratios: dict[str, float]) -> list[str]:
    """Where simulated traffic of a hot line is over ``entry["max_ratio"]`` times the ideal."""
    limit = entry["max_ratio"]
    return [
        f"{place} must be at most {limit}x the ideal, got {ratio:.3g}x"
        for place, ratio in ratios.items()
        if ratio > limit
    ]


def short_name(mangled: str) -> str:
    """``_ZN12greenkernels4cuda12sgemm_kernelILb1ELi4EEEv...`` -> ``sgemm_kernel<1,4>``."""
    rest, name = mangled.removeprefix("_ZN"), mangled
    while found := re.match(r"\d+", rest):  # the length of the next part, then the part
        end = found.end() + int(found[0])
        name, rest = rest[found.end() : end], rest[end:]
    kind = r"L(?:[a-z]|NS0_\d+[A-Za-z]+E)"  # a letter for what is built in, a name for an enum of the library
    arguments = re.match(
        r"I(.*?E)Ev", rest
    )  # in front of the result, which is void; types have arguments too
    values = ",".join(re.findall(rf"{kind}(\d+)E", arguments[1])) if arguments else ""
    return f"{name}<{values}>" if values else name
