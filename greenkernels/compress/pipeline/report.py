"""The report of a pipeline: a table, and what accuracy costs in time and joules as plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...report.files import write_whole
from ...report.plots.canvas import LOSES, NEEDS, OURS, Plot, drawing, finish, put_title
from ...report.tables import markdown_table
from .data import Data
from .evaluation import Row, nothing_dominates

if TYPE_CHECKING:
    from .recipe import Recipe

HEAD = (
    "step",
    "accuracy",
    "nonzeros",
    "file, bytes",
    "ms / input",
    "speed-up",
    "J / input",
    "source",
    "accuracy / J",
)


def write_report(
    out: Path, recipe: Recipe, rows: Sequence[Row], facts: dict[str, dict[str, Any]], data: Data, quick: bool
) -> None:
    """``report.md`` and its plots."""
    first = facts[rows[0].step]
    parts = [
        f"# {recipe.name}",
        f"{data.name} data, {len(data.test.labels):,} test inputs, batches of {first['batch']}, {first['threads']} "
        f"thread(s), seed {recipe.seed}. Times are in turns, speed-ups over the first row with quartiles; files hold "
        f"the nonzeros alone where that is smaller; accuracy per joule is shown from {recipe.floor:.0%} accuracy on.",
        "A quick run: it shows that the recipe works, and its figures mean nothing." if quick else "",
        markdown_table(HEAD, [_cells(row, facts[row.step]) for row in rows], right=range(1, 9)),
        *(_plots(out, rows, facts)),
        f"## Modelled energy of each layer, J an input, without static power\n\n{_split(facts, rows)}",
    ]
    write_whole(out / "report.md", ("\n\n".join(filter(None, parts)) + "\n").encode())


def _cells(row: Row, fact: dict[str, Any]) -> tuple[str, ...]:
    energy, each = fact["energy_j"], fact["per_joule"]
    speedup = fact.get("speedup")
    return (
        row.step,
        f"{row.accuracy:.2%}",
        f"{row.nonzeros:,}",
        f"{row.file_bytes:,}",
        f"{fact['time_s'] * 1e3:.4f}",
        "-" if speedup is None else f"{speedup[1]:.2f}x [{speedup[0]:.2f}, {speedup[2]:.2f}]",
        "-" if energy is None else f"{energy['value']:.3g}",
        "-" if energy is None else f"{fact['source']}, {energy['kind']}",
        "-" if each is None else f"{each['value']:.3g}",
    )


def _plots(out: Path, rows: Sequence[Row], facts: dict[str, dict[str, Any]]) -> list[str]:
    try:
        drawn = [
            _pareto("time", [facts[row.step]["time_s"] * 1e3 for row in rows], "ms an input, measured", rows)
        ]
        joules = [facts[row.step]["energy_j"] for row in rows]
        if all(joules):
            label = f"mJ an input, {joules[0]['kind']}"
            drawn.append(_pareto("energy", [energy["value"] * 1e3 for energy in joules], label, rows))
    except ImportError:
        return [f"No plots: {NEEDS}"]
    for plot in drawn:
        plot.save(out)
    return [f"![{plot.alt}]({plot.name}.svg)" for plot in drawn]


def _pareto(what: str, costs: Sequence[float], label: str, rows: Sequence[Row]) -> Plot:
    """Accuracy over cost; filled where no other step is as cheap and as accurate."""
    best = nothing_dominates([(cost, row.accuracy) for cost, row in zip(costs, rows, strict=True)])
    title = f"Accuracy against {what}"
    with drawing(5, 3.6) as figure:
        axes = figure.subplots()
        for cost, row, filled in zip(costs, rows, best, strict=True):
            axes.plot(
                [cost],
                [100 * row.accuracy],
                marker="o",
                color=OURS if filled else LOSES,
                mfc=OURS if filled else "none",
            )
            axes.annotate(row.step, (cost, 100 * row.accuracy), xytext=(5, 4), textcoords="offset points")
        axes.set_xlabel(label)
        axes.set_ylabel("test accuracy, %")
        axes.grid(axis="y")
        put_title(figure, title)
        alt = (
            f"Test accuracy over {label}, {len(rows)} networks; filled: {sum(best)} that none beats in both."
        )
        return finish(figure, f"pareto-{what}", title, alt)


def _split(facts: dict[str, dict[str, Any]], rows: Sequence[Row]) -> str:
    """First and last network, side by side by the name of a layer."""
    ends = [
        dict((name, joules) for name, _, joules in facts[row.step]["layers"]) for row in (rows[0], rows[-1])
    ]
    names = list(dict.fromkeys([*ends[0], *ends[1]]))
    table = [
        (name or "(the network)", *("-" if end.get(name) is None else f"{end[name]:.3g}" for end in ends))
        for name in names
    ]
    return markdown_table(("layer", rows[0].step, rows[-1].step), table, right=(1, 2))
