"""The ``demo`` command: a real network on a real photo, stock and converted in turns; a table and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from ..measure.progress import progress_bar
from ..measure.rows import Run
from ..measure.threads import thread_numbers
from ..measure.turns import FOREIGN_CORES
from ..report import html, pictures
from ..report.tables import error, milliseconds, ratio, text_table
from . import NETWORKS, FetchError, Job, load
from .contest import OURS, TORCH, TORCH_CHANNELS_LAST, Result, contest, schedule


def demo(
    model: Annotated[str, typer.Option(help=f"Network of the zoo: {', '.join(NETWORKS)}.")] = NETWORKS[0],
    photo: Annotated[Path | None, typer.Option(help="A picture of your own, any size from 16 x 16.")] = None,
    threads: Annotated[
        str, typer.Option(help="Thread numbers, as in 1,2. Default: one, and all cores.")
    ] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each contender.")] = 15,
    out: Annotated[Path, typer.Option(help="Folder for pictures, rows and report.")] = Path("demo-output"),
    quick: Annotated[bool, typer.Option(help="Choose by rule and time once: shows that it works.")] = False,
) -> None:
    """Run a real pretrained network faster, on a real photo, and prove it."""
    try:
        counts = thread_numbers(threads)
        job = load(model, photo)
    except (FetchError, ValueError, ImportError) as problem:
        typer.echo(f"demo: {problem}", err=True)
        raise typer.Exit(1) from None
    results = run(job, counts, repeats, quick)
    typer.echo(summary(job, results))
    for path in write(job, results, out):
        typer.echo(f"wrote {path}")


def run(job: Job, counts: list[int], repeats: int, quick: bool) -> list[Result]:
    timing = schedule(repeats, quick)
    results: list[Result] = []
    with progress_bar("demo") as advance:
        for i, threads in enumerate(counts):

            def report(share: float, note: str, i: int = i) -> None:
                advance((i + share) / len(counts), note)

            results.append(contest(job, threads, timing, report, quick))
    return results


def table(job: Job, results: list[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows: every contender at every thread number."""
    score = f"{job.score_name} {job.score_unit}"
    headers = ("threads", "network", "ms [quartiles]", "against best torch", score, "difference to torch")
    rows = []
    for result in results:
        for name in (TORCH, TORCH_CHANNELS_LAST, OURS):
            time = result.turns.time(name) if result.turns.samples[name] else None
            against = result.turns.compare(result.best_stock, name).ratio if time else None
            rows.append(
                (
                    str(result.threads),
                    name,
                    milliseconds(time, spread=True),
                    "1" if name == result.best_stock else ratio(against, spread=True),
                    f"{result.scores[name]:.2f}",
                    error(result.difference) if name == OURS else "-",
                )
            )
    return headers, rows


def summary(job: Job, results: list[Result]) -> str:
    shape = " x ".join(str(n) for n in job.inputs[0].shape)
    lines = [f"{job.name} on {shape}, float32, torch {torch.__version__}", ""]
    lines += [text_table(*table(job, results), right=(0, 2, 3, 4, 5)), ""]
    lines.append(f"For orientation: {job.simple_name} reaches {job.simple_score:.2f} {job.score_unit}.")
    for result in results:
        lines.append(
            f"{result.threads} thread(s): {result.plan.reason} (memory format {result.plan.memory_format})."
        )
        lines += [f"  {name} was thrown out: {why}" for name, why in result.turns.thrown_out.items()]
        if (result.turns.foreign_cores or 0) > FOREIGN_CORES:
            lines.append(
                f"  Other processes kept {result.turns.foreign_cores:.1f} cores busy: take these times again."
            )
    return "\n".join(lines)


def write(job: Job, results: list[Result], out: Path) -> list[Path]:
    """Pictures, rows and page; gives their paths."""
    written = [Run.now([row for result in results for row in result.rows]).save(out / "rows.json")]
    page = html.Page(f"greenkernels on {job.name}").table(*table(job, results), right=(0, 2, 3, 4, 5))
    page.text(f"For orientation: {job.simple_name} reaches {job.simple_score:.2f} {job.score_unit}.")
    if job.truth is not None:
        shown = list(job.pictures.items())
        shown += [(f"{OURS} ({results[-1].scores[OURS]:.2f} {job.score_unit})", results[-1].outputs[OURS])]
        simple = job.pictures.get(job.simple_name, results[-1].outputs[OURS])
        image = pictures.sheet([*shown, ("truth", job.truth)], pictures.most_different(simple, job.truth))
        written.append(pictures.save_png(image, out / "pictures.png"))
        page.picture(
            pictures.png_bytes(image), "camera mosaic, simple method, network and truth side by side"
        )
    for result in results:
        page.heading(f"Plan for {result.threads} thread(s)").preformatted(str(result.plan))
        written.append(result.plan.save(out / f"plan-{result.threads}-threads.json"))
    written.append(page.save(out / "report.html"))
    return written
