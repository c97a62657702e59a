"""What the demo leaves behind: its table, pictures, rows, plans and page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..measure.provenance import require_one_kind
from ..measure.rows import Run
from ..report import pictures
from ..report.files import write_whole
from ..report.network_page import NetworkResult, Picture, network_page
from ..report.tables import each_joule, error, millijoules, milliseconds, ratio
from .contest import OURS, Result
from .job import Job

if TYPE_CHECKING:
    from PIL.Image import Image


def table(job: Job, results: list[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows: every contender at every thread number."""
    score = job.score_heading or "score"
    kind = require_one_kind([result.energy(name) for result in results for name in result.outputs])
    joules = f"mJ ({kind.value})" if kind else "mJ"
    headers = (
        "threads",
        "network",
        "ms [quartiles]",
        "against best torch",
        joules,
        score,
        "difference to torch",
        f"{score} / J",
    )
    rows = []
    for result in results:
        for name in result.outputs:
            time = result.turns.time(name) if result.turns.samples[name] else None
            against = result.turns.compare(result.best_stock, name).ratio if time else None
            rows.append(
                (
                    str(result.threads),
                    name,
                    milliseconds(time, spread=True),
                    "1" if name == result.best_stock else ratio(against, spread=True),
                    millijoules(result.energy(name)),
                    "-" if result.scores[name] is None else f"{result.scores[name]:.2f}",
                    error(result.difference) if name == OURS else "-",
                    each_joule(result.efficiency(name)),
                )
            )
    return headers, rows


def orientation(job: Job) -> str:
    """What the simplest method of the trade reaches; or that there is no judge."""
    if job.score is None:
        return "No truth is published for this input: the difference to torch is what counts."
    if job.simple_score is None:
        return f"Higher is better: {job.score_name}."
    return (
        f"For orientation: {job.simple_name} reaches {job.simple_score:.2f} {job.score_unit}".rstrip() + "."
    )


def picture_sheet(job: Job, result: Result) -> Image:
    """What goes in, the simple method, the network's output and the truth; below each the part that differs most."""
    made, score = job.as_picture(result.outputs[OURS]), result.scores[OURS]
    label = OURS if score is None else f"{OURS} ({score:.2f} {job.score_unit})"
    shown = [*job.pictures.items(), (label, made)]
    if job.truth is None:
        return pictures.sheet(shown)
    simple = job.pictures.get(job.simple_name, made)
    return pictures.sheet([*shown, ("truth", job.truth)], pictures.most_different(simple, job.truth))


def write(job: Job, results: list[Result], out: Path) -> list[Path]:
    """Pictures, rows, plans, plots and page; gives their paths."""
    written = [Run.now([row for result in results for row in result.rows]).save(out / "rows.json")]
    shown = [network_result(job, result) for result in results]
    if job.as_picture is not None:
        png = pictures.png_bytes(picture_sheet(job, results[-1]))
        written.append(write_whole(out / "pictures.png", png))
        alt = ", ".join(
            [*job.pictures, "the network's output", *(["truth"] if job.truth is not None else [])]
        )
        shown[-1] = replace(shown[-1], pictures=(Picture(png, f"Side by side: {alt}."),))
    for result in results:
        written.append(result.plan.save(out / f"plan-{result.threads}-threads.json"))
    title = f"greenkernels on {job.name}, {job.sizes}"
    return written + network_page(title, shown, out / "report.html", out / "figures")


def network_result(job: Job, result: Result) -> NetworkResult:
    """The same for the page."""
    return NetworkResult(
        result.plan,
        turns=result.turns,
        ours=OURS,
        difference=result.difference,
        scores={name: f"{score:.2f}" for name, score in result.scores.items() if score is not None},
        score_name=job.score_heading,
        per_joule={name: each_joule(result.efficiency(name)) for name in result.outputs},
        notes=[part for part in (job.about, orientation(job)) if part],
    )
