"""The table and the plot of the story, from its cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from greenkernels.report.plots.canvas import (
    LOSES,
    OURS,
    SECOND,
    STOCK,
    THIRD,
    Plot,
    drawing,
    finish,
    put_title,
)

HEAD = (
    "network",
    "importance",
    "zeros",
    "accuracy",
    "nonzeros",
    "file, bytes",
    "of dense",
    "ms a batch",
    "dense ms",
    "speed-up",
    "sparse layers",
    "mJ a batch, modelled",
    "accuracy / J, modelled",
)
FLOOR = 0.85  # accuracy from which accuracy per joule is shown
NUMBERS = len(HEAD) - 2  # columns that are numbers
COLOURS = {"magnitude": OURS, "gradient": LOSES, "fisher": SECOND, "obs": THIRD}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Cells, the dense control of each network first."""
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*-*.json"))]
    order = ["dense", *COLOURS]
    return sorted(rows, key=lambda r: (r["network"], order.index(r["importance"]), r["amount"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; `-` where a cell was not timed."""
    dense = {row["network"]: row for row in rows if row["importance"] == "dense"}
    lines = [f"| {' | '.join(HEAD)} |", f"|---|---|{'---:|' * NUMBERS}"]
    for row in rows:
        timed, energy = "time_s" in row, row.get("modelled_energy_j")
        control = dense.get(row["network"])
        cells = [
            row["network"],
            row["importance"],
            f"{1 - row['nonzeros'] / row['weights']:.1%}",
            f"{row['accuracy']:.2%}",
            f"{row['nonzeros']:,}",
            f"{row['file_bytes']:,}",
            f"{row['file_bytes'] / control['file_bytes']:.1%}" if control else "-",
            f"{row['time_s'] * 1e3:.3f}" if timed else "-",
            f"{row['dense_time_s'] * 1e3:.3f}" if timed else "-",
            f"{row['speedup'][1]:.2f}x [{row['speedup'][0]:.2f}, {row['speedup'][2]:.2f}]" if timed else "-",
            ", ".join(row["sparse_layers"]) or "none" if timed else "-",
            f"{energy * 1e3:.3g}" if energy else "-",
            f"{row['accuracy'] / energy:.0f}" if energy and row["accuracy"] >= FLOOR else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(folder: Path) -> str:
    """Markdown: accuracy lost against the dense control of the same seed, where several seeds were trained."""
    seeds = [rows_of(path) for path in (folder, *sorted(folder.glob("seed-*")))]
    lost: dict[tuple[str, str, float], list[float]] = {}
    for rows in seeds:
        dense = {row["network"]: row["accuracy"] for row in rows if row["importance"] == "dense"}
        for row in rows:
            if row["importance"] != "dense" and row["network"] in dense:
                key = row["network"], row["importance"], row["amount"]
                lost.setdefault(key, []).append(100 * (dense[row["network"]] - row["accuracy"]))
    lines = ["| network | importance | zeros | points lost, mean | of each seed |", "|---|---|---:|---:|---|"]
    for (network, importance, amount), points in lost.items():
        if len(points) > 1:
            each = ", ".join(f"{p:.2f}" for p in points)
            lines.append(
                f"| {network} | {importance} | {amount:.0%} | {sum(points) / len(points):.2f} | {each} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def plot(rows: list[dict[str, Any]]) -> Plot:
    """Accuracy over zeros, one panel a network, one line an importance, the dense control dashed."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    title = "Fashion-MNIST: accuracy of pruned networks"
    with drawing(5 * len(networks), 3.6) as figure:
        for axes, network in zip(figure.subplots(1, len(networks), squeeze=False)[0], networks, strict=True):
            own = [row for row in rows if row["network"] == network]
            for row in own:
                if row["importance"] == "dense":
                    axes.axhline(
                        100 * row["accuracy"], color=STOCK, ls="--", lw=1.2, label="dense, trained as long"
                    )
            for importance, colour in COLOURS.items():
                line = [r for r in own if r["importance"] == importance]
                if line:
                    zeros = [100 * (1 - r["nonzeros"] / r["weights"]) for r in line]
                    points = [100 * r["accuracy"] for r in line]
                    axes.plot(zeros, points, color=colour, marker="o", ms=3.5, lw=1.5, label=importance)
            axes.set_title(network)
            axes.set_xlabel("zeros, %")
            axes.set_ylabel("test accuracy, %")
            axes.grid(axis="y")
            axes.legend()
        put_title(figure, title)
        alt = f"Test accuracy over the share of zeros for {', '.join(networks)}, {len(rows)} networks."
        return finish(figure, "pruning-accuracy", title, alt)


def write(folder: Path) -> None:
    """`report.md` and the plot beside it."""
    rows = rows_of(folder)
    if not rows:
        return
    drawn = plot(rows)
    drawn.save(folder)
    machines = sorted({row["machine"] for row in rows if "machine" in row})
    timed = next((row for row in rows if "time_s" in row), None)
    words = f"Batch {timed['batch']}, {timed['threads']} thread(s), {', '.join(machines)}." if timed else ""
    words += f" Accuracy per joule is shown from {FLOOR:.0%} accuracy on."
    text = f"# {drawn.title}\n\n{words}\n\n![{drawn.alt}]({drawn.name}.svg)\n\n{table(rows)}\n\n{spread(folder)}\n"
    (folder / "report.md").write_text(text)
