"""Benchmark rows as JSON: one file a run, which holds all repeats and everything needed to judge them."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .contender import Contender
from .machine import machine_facts, source_facts, version_facts
from .provenance import Measurement
from .throttling import SLOWED
from .turns import FOREIGN_CORES, NOISY, TWIN, Turns
from .work import Work

SCHEMA = 2  # raised when a field changes its meaning; readers refuse what is newer
READABLE = (1, 2)  # 1 had no version, flags, work and ceilings


@dataclass
class Row:
    """One contender on one case.

    Attributes:
        suite: what the case belongs to: the stem of a kernel or the name of a network.
        case: the case in words, unique within the suite.
        contender: who ran, with its options.
        ours: True for this package, False for a rival.
        time_s: measured seconds a call, with all repeats.
        energy_j: joules a call with their kind, modelled where no counter was read; None where the work is unknown.
        version: of the software that did the work.
        flags: options that the contender ran with.
        work: operations and bytes of one call, or None.
        ceilings: what the machine can do at most, taken beside the case at this thread number: "fma", "vnni" and
            "bf16" in op/s, "read" in B/s. A multiply-add is two operations.
        max_relative_error: largest relative error of checked outputs against float64; None if unchecked.
        threads: torch's thread number.
        cache: "warm" (weights and inputs reused) or "cold".
        noise: A/A noise of the run; above `NOISY` the row is marked noisy.
        foreign_cores: cores kept busy by other processes, None if unknown.
        thrown_out: why the contender does not count, or None.
        extra: anything else about the case (shape, PSNR, layers replaced).
    """

    suite: str
    case: str
    contender: str
    ours: bool
    time_s: Measurement | None
    threads: int
    dtype: str = "float32"
    cache: str = "warm"
    version: str = ""
    flags: str = ""
    work: Work | None = None
    ceilings: dict[str, Measurement] = field(default_factory=dict)
    energy_j: Measurement | None = None
    max_relative_error: float | None = None
    noise: float = 0.0
    foreign_cores: float | None = None
    thrown_out: str | None = None
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def noisy(self) -> bool:
        disturbed = self.noise > NOISY or (self.foreign_cores or 0.0) > FOREIGN_CORES
        return disturbed or self.extra.get("slowdown", 0.0) > SLOWED

    def share_of(self, ceiling: str) -> float | None:
        """Part of a ceiling that the call reaches, 0 to about 1; None where the ceiling, time or work is unknown.

        The operations are those really done; for "read" it is the bytes.
        """
        limit = self.ceilings.get(ceiling)
        if limit is None or self.time_s is None or self.work is None:
            return None
        amount = self.work.bytes if limit.unit == "B/s" else self.work.flops
        return None if amount is None else amount / self.time_s.value / limit.value

    def to_json(self) -> dict[str, object]:
        data = asdict(self) | {"noisy": self.noisy}
        data["ceilings"] = {name: limit.to_json() for name, limit in self.ceilings.items()}
        for name in ("time_s", "energy_j"):
            quantity = getattr(self, name)
            data[name] = quantity.to_json() if quantity else None
        return data

    @classmethod
    def from_json(cls, data: dict) -> Row:
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        for name in ("time_s", "energy_j"):
            if known.get(name):
                known[name] = Measurement.from_json(known[name])
        if known.get("work"):
            known["work"] = Work(**known["work"])
        ceilings = known.get("ceilings") or {}
        known["ceilings"] = {name: Measurement.from_json(limit) for name, limit in ceilings.items()}
        return cls(**known)


@dataclass
class Run:
    """All rows of one run and where they come from; `partial` if it was interrupted before its last case."""

    rows: list[Row]
    date: str
    machine: dict[str, object]
    versions: dict[str, object]
    source: dict[str, object]
    partial: bool = False

    @classmethod
    def now(cls, rows: Sequence[Row], partial: bool = False) -> Run:
        date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        return cls(list(rows), date, machine_facts(), version_facts(), source_facts(), partial)

    def save(self, path: Path) -> Path:
        """All or nothing."""
        return write_json(path, self.to_json())

    def to_json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "source": self.source,
            "partial": self.partial,
            "rows": [row.to_json() for row in self.rows],
        }

    @classmethod
    def load(cls, path: Path) -> Run:
        return cls.from_json(json.loads(path.read_text()), path)

    @classmethod
    def from_json(cls, data: dict, path: Path) -> Run:
        """The run that `to_json` wrote; ``path`` is for messages."""
        if data.get("schema") not in READABLE:
            known = " or ".join(map(str, READABLE))
            raise ValueError(f"{path}: schema must be {known}, got {data.get('schema')}")
        rows = [Row.from_json(row) for row in data["rows"]]
        facts = (data[name] for name in ("date", "machine", "versions", "source"))
        return cls(rows, *facts, data.get("partial", False))


def write_json(path: Path, data: object) -> Path:
    """Write to a temporary name and rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    half.write_text(json.dumps(data, indent=1) + "\n")
    half.replace(path)
    return path


def rows_from_turns(turns: Turns, suite: str, case: str, ours: Sequence[str], **extra: object) -> list[Row]:
    """One row a contender, those thrown out included; the A/A twin speaks through `noise`."""
    rows = []
    for name, samples in turns.samples.items():
        if name.endswith(TWIN):
            continue
        rows.append(
            Row(
                suite=suite,
                case=case,
                contender=name,
                ours=name in ours,
                time_s=turns.time(name) if samples else None,
                threads=turns.threads,
                max_relative_error=turns.errors.get(name),
                noise=turns.noise(),
                foreign_cores=turns.foreign_cores,
                thrown_out=turns.thrown_out.get(name),
                extra=dict(extra),
            )
        )
    return rows


def describe(rows: Sequence[Row], contenders: Sequence[Contender], work: Work | None) -> None:
    """Put into the rows what contenders say of themselves; `work` is that of all who say nothing of their own."""
    by_name = {contender.name: contender for contender in contenders}
    for row in rows:
        contender = by_name[row.contender]
        row.version, row.flags, row.work = contender.version, contender.flags, contender.work or work
        row.energy_j = _modelled(row)


def _modelled(row: Row) -> Measurement | None:
    """J from the row's work and time; None where either is unknown, or the table has no figure for the type."""
    from ..energy import Counts, joules  # which needs what this package has about quantities

    if row.time_s is None or row.work is None or row.work.flops is None or row.work.bytes is None:
        return None
    try:
        return joules(Counts(int(row.work.flops), int(row.work.bytes), 0, 0, row.dtype), row.time_s)
    except ValueError:
        return None
