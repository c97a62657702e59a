"""The bar that every network of the zoo has to pass, judged from the rows of ``greenkernels bench networks``.

Where 3x3 convolutions dominate, leaving everything as it is counts as a failure: at least one layer has to be
replaced, and the network has to win beyond noise. Anywhere else a network that was kept must give the very same output,
and one that was not must not be slower by more than 2 % (or by more than the stock network differs from itself).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ..measure.bench_table import score_per_joule
from ..measure.compare import NOISE_FLOOR
from ..measure.rows import Row
from ..report.tables import each_joule, error, milliseconds, text_table
from .contest import OURS, TORCH, TORCH_CHANNELS_LAST

SLOWER_ALLOWED = 0.02
MAX_ERROR = 1e-5  # what `gk.plan` promises by default


@dataclass(frozen=True)
class Verdict:
    """One network at one thread number.

    Attributes:
        case, threads: which.
        stock, ours: rows of the fastest stock network, and of the converted one; None where it is missing.
        problems: why it does not pass, in words; empty where it does.
    """

    case: str
    threads: int
    stock: Row | None
    ours: Row | None
    problems: tuple[str, ...]

    @property
    def speedup(self) -> float | None:
        return self.stock.time_s / self.ours.time_s if self.stock and self.ours else None


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Verdicts on all warm cases of one run whose rows say what role the network has; other rows are passed over."""
    wanted = [row for row in rows if "role" in row.extra and row.cache == "warm"]
    wanted.sort(key=lambda r: (r.case, r.threads))
    groups = groupby(wanted, key=lambda r: (r.case, r.threads))
    return [_verdict(case, threads, list(group)) for (case, threads), group in groups]


def _verdict(case: str, threads: int, rows: list[Row]) -> Verdict:
    counted = [row for row in rows if row.time_s and not row.thrown_out]
    rivals = [row for row in counted if not row.ours and row.contender in (TORCH, TORCH_CHANNELS_LAST)]
    stock = min(rivals, key=lambda row: row.time_s.value, default=None)
    ours = next((row for row in counted if row.contender == OURS), None)
    if stock is None or ours is None:
        reasons = [f"{row.contender}: {row.thrown_out or 'no time'}" for row in rows if row not in counted]
        return Verdict(case, threads, stock, ours, ("not measured", *reasons))
    problems = _winner(stock, ours) if ours.extra["role"] == "3x3" else _bystander(stock, ours)
    return Verdict(case, threads, stock, ours, tuple(problems))


def _winner(stock: Row, ours: Row) -> list[str]:
    problems = [] if ours.extra["replaced"] else ["no layer was replaced"]
    speedup, needed = (stock.time_s / ours.time_s).value, 1 + max(ours.noise, NOISE_FLOOR)
    if speedup <= needed:
        problems.append(f"does not win: {speedup:.3f}x, needs more than {needed:.3f}x")
    if ours.extra["relative_difference"] > MAX_ERROR:
        problems.append(f"differs by {error(ours.extra['relative_difference'])}, allowed {error(MAX_ERROR)}")
    return problems


def _bystander(stock: Row, ours: Row) -> list[str]:
    difference = ours.extra["relative_difference"]
    if not ours.extra["replaced"]:  # the same modules again: their times differ by noise alone
        return [f"was kept, but its output differs by {error(difference)}"] if difference else []
    problems = (
        [f"differs by {error(difference)}, allowed {error(MAX_ERROR)}"] if difference > MAX_ERROR else []
    )
    speedup, allowed = (stock.time_s / ours.time_s).value, 1 - max(ours.noise, SLOWER_ALLOWED)
    if speedup < allowed:
        problems.append(f"is slower: {speedup:.3f}x, allowed {allowed:.3f}x")
    return problems


def table(verdicts: Sequence[Verdict]) -> str:
    """Every verdict with what it rests on; losing and noisy rows included."""
    headers = (
        "network",
        "threads",
        "role",
        "best torch ms",
        "ms",
        "speed-up",
        "replaced",
        "difference",
        "verdict",
        "score / J",
    )
    lines = []
    for v in verdicts:
        row = v.ours or v.stock
        extra = row.extra if row else {}
        replaced = f"{extra['replaced']} of {extra['layers']}" if extra else "-"
        verdict = "; ".join(v.problems) or "passes"
        if row and row.noisy:
            verdict += f" (noisy: A/A {row.noise:.1%}, others {row.foreign_cores or 0:.1f} cores)"
        lines.append(
            (
                v.case,
                str(v.threads),
                str(extra.get("role", "-")),
                milliseconds(v.stock.time_s if v.stock else None),
                milliseconds(v.ours.time_s if v.ours else None),
                f"{v.speedup.value:.2f}x" if v.speedup else "-",
                replaced,
                error(extra.get("relative_difference")),
                verdict,
                each_joule(score_per_joule(v.ours)) if v.ours else "-",
            )
        )
    return text_table(headers, lines, right=(1, 3, 4, 5, 6, 7, 9))
