"""The ``demo`` command: a real network on a real photo, stock and converted in turns; a table and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from ..measure.progress import progress_bar
from ..measure.threads import thread_numbers
from ..measure.turns import FOREIGN_CORES
from ..report.tables import text_table
from . import DEFAULT, NETWORKS, FetchError, Job, load, registered
from .contest import FLOOR, Result, contest, schedule
from .demo_report import orientation, table, write


def demo(
    model: Annotated[str, typer.Option(help=f"Network of the zoo: {', '.join(NETWORKS)}.")] = DEFAULT,
    photo: Annotated[Path | None, typer.Option(help="A picture of your own, any size from 16 x 16.")] = None,
    threads: Annotated[
        str, typer.Option(help="Thread numbers, as in 1,2. Default: one, and all cores.")
    ] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each contender.")] = 15,
    out: Annotated[Path, typer.Option(help="Folder for pictures, rows and report.")] = Path("demo-output"),
    quick: Annotated[bool, typer.Option(help="Choose by rule and time once: shows that it works.")] = False,
    list_networks: Annotated[bool, typer.Option("--list", help="Show the networks, run none.")] = False,
) -> None:
    """Run a real pretrained network faster, on a real input, and prove it."""
    if list_networks:
        typer.echo(networks_table())
        return
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


def networks_table() -> str:
    """All networks: what each does, its licence, work, and what has to be fetched."""
    headers = ("name", "what it does", "role", "licence", "GMAC", "3x3", "MB to fetch")
    rows = []
    for network in registered():
        about = network.about + (" (heavy)" if network.heavy else "")
        licence = network.licence.partition(" (")[0]
        work = (f"{network.gmacs:.3g}", f"{network.share_3x3:.1%}", f"{network.fetch_mb:.1f}")
        rows.append((network.name, about, network.role, licence, *work))
    return text_table(headers, rows, right=(4, 5, 6))


def run(job: Job, counts: list[int], repeats: int, quick: bool) -> list[Result]:
    timing = schedule(repeats, quick)
    results: list[Result] = []
    with progress_bar("demo") as advance:
        for i, threads in enumerate(counts):

            def report(share: float, note: str, i: int = i) -> None:
                advance((i + share) / len(counts), note)

            results.append(contest(job, threads, timing, report, quick))
    return results


def summary(job: Job, results: list[Result]) -> str:
    lines = [f"{job.name} on {job.sizes}, float32, torch {torch.__version__}", job.about, ""]
    lines += [text_table(*table(job, results), right=(0, *range(2, 8))), ""]
    lines.append(orientation(job))
    if job.score is not None:
        lines.append(f"Score per joule is shown from {FLOOR:.0%} of torch's score on.")
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
