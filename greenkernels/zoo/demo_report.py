"""What the demo leaves behind: its table, pictures, rows, plans and page."""

from __future__ import annotations

from pathlib import Path

from ..measure.rows import Run
from ..report import html, pictures
from ..report.tables import error, milliseconds, ratio
from .contest import OURS, TORCH, TORCH_CHANNELS_LAST, Result
from .job import Job


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
