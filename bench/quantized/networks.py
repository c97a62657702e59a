"""What few bits cost and give five real networks: quality, difference of the output, ms, J with its kind, bytes.

    python bench/quantized/networks.py --out FOLDER [--only minilm,hed] [--ways TEXT] [--topics DIR] [--fashion DIR]
    python bench/quantized/networks.py --out FOLDER --times
    python bench/quantized/networks.py --out FOLDER --keep
    python bench/quantized/networks.py --report

minilm, demosaicnet and hed are the zoo's; fashion is the CNN of bench/pruning and residual the one of `greenkernels
compress`, trained here. The first command makes a JSON row and a file of weights for each network and way, and goes on
where it was stopped; onnxruntime and torchao are among the ways where the Python that runs has them. The second takes
times of all that is there, in turns, and joules; it should be alone on the machine. The third puts all rows into
`networks.json` beside this file, and the last makes the table and the plot of docs/quantization.md of that. Texts and
images come from Debian packages, as `topics.py` and `greenkernels/compress/pipeline/data.py` say.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import rivals
import topics
import torch
from subjects import SUBJECTS, Subject
from torch import nn
from ways import STOCK, WAYS, weight_bytes

import greenkernels as gk
from greenkernels.compress.pipeline import data
from greenkernels.compress.pipeline.structure import describe, rebuild
from greenkernels.energy.quality import quality_per_joule
from greenkernels.measure.clock import Clock
from greenkernels.measure.contender import Contender
from greenkernels.measure.machine import cpu_facts, source_facts
from greenkernels.measure.provenance import Kind, Measurement
from greenkernels.measure.turns import Schedule, take_turns
from greenkernels.planning.convert import PLAN_ATTRIBUTE
from greenkernels.report.files import write_whole
from greenkernels.report.plots.canvas import (
    LOSES,
    OURS,
    SECOND,
    THIRD,
    drawing,
    finish,
    put_title,
)
from greenkernels.report.plots.canvas import (
    STOCK as GREY,
)
from greenkernels.report.readme import write_between_markers
from greenkernels.report.tables import each_joule, markdown_table

SCHEDULE = Schedule(rounds=5, min_rounds=5, timed=2, untimed=1)
HEAD = (
    "network",
    "weights",
    "score",
    "difference of the output",
    "ms",
    "mJ, modelled",
    "bytes of weights",
    "file",
    "score / J",
)
KEPT = Path(__file__).resolve().with_name("networks.json")
DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- networks:begin -->", "<!-- networks:end -->"
FLOOR = 0.99  # of the score of float32: below it there is no score per joule
COLOURS = dict(zip(SUBJECTS, (OURS, LOSES, SECOND, THIRD, GREY), strict=True))
MARKS = dict(zip(SUBJECTS, "osD^v", strict=True))

Row = dict[str, Any]


def path_of(out: Path, network: str, way: str, suffix: str = ".json") -> Path:
    name = f"{network}-{way}".replace(",", "").replace("'", "").replace(" ", "_")
    return out / (name + suffix)


def ways_here() -> dict[str, Callable[[Subject, Path], nn.Module]]:
    """Ours, and those of rivals that this Python has."""
    ours = {name: lambda subject, path, make=make: make(subject) for name, make in WAYS.items()}
    theirs = {
        name: make
        for name, make in rivals.MADE_BY.items()
        if importlib.util.find_spec(name.partition(",")[0]) is not None
    }
    return ours | theirs


@torch.inference_mode()
def judged(network: nn.Module, subject: Subject) -> Row:
    exact, found = subject.network(*subject.inputs), network(*subject.inputs)
    error = float((found - exact).norm() / exact.norm())
    return {"error": error, "score": subject.score(network) if subject.score else None}


def row_of(subject: Subject, way: str, make: Callable[[Subject, Path], nn.Module], out: Path) -> Row:
    row = {"network": subject.name, "way": way, "score_name": subject.score_name, "torch": torch.__version__}
    row |= {"machine": {name: cpu_facts()[name] for name in ("name", "family_model", "cores")}}
    row |= {name: source_facts()[name] for name in ("commit", "dirty", "csrc_hash")}
    path = path_of(out, subject.name, way, ".onnx" if way.startswith("onnx") else ".safetensors")
    try:
        network = make(subject, path)
    except rivals.NotForThisError as problem:
        return row | {"left_out": str(problem)}
    if way in WAYS:
        gk.save(network, path)
        row |= {"structure": describe(network), "weight_bytes": weight_bytes(network)}
        row |= {"planned": getattr(network, PLAN_ATTRIBUTE, None) is not None}
    if path.exists():
        row |= {"file_bytes": path.stat().st_size}
    return row | judged(network, subject)


def network_of(row: Row, subject: Subject, out: Path) -> nn.Module | None:
    """The network of a row, from its file; None where it has none that can be timed."""
    path = path_of(out, row["network"], row["way"], ".safetensors")
    if row["way"] == STOCK:
        return subject.network
    if row["way"].startswith("onnx"):
        return rivals.InOnnxruntime(path.with_suffix(".onnx"))
    if row["way"] not in WAYS:
        return None
    stock = copy.deepcopy(subject.network)
    return gk.load(stock if row["planned"] else rebuild(stock, row["structure"]), path)


def rows_of(out: Path, network: str) -> dict[str, Row]:
    """Rows that are there, in the order of the ways."""
    paths = {way: path_of(out, network, way) for way in (*WAYS, *rivals.MADE_BY)}
    return {way: json.loads(path.read_text()) for way, path in paths.items() if path.exists()}


def take_times(subject: Subject, out: Path) -> None:
    """Lower quartiles in turns, and J, into the rows."""
    rows = {way: row for way, row in rows_of(out, subject.name).items() if "left_out" not in row}
    if importlib.util.find_spec("onnxruntime") is None:
        rows = {way: row for way, row in rows.items() if not way.startswith("onnx")}
    networks = {way: network_of(row, subject, out) for way, row in rows.items()}
    contenders = [Contender(way, made, keep=True) for way, made in networks.items() if made is not None]
    with torch.inference_mode():
        turns = take_turns(contenders, subject.inputs, SCHEDULE, clock=Clock(), progress=lambda share: None)
        for contender in contenders:
            way = contender.name
            seen = {"time_s": turns.time(way).value, "threads": turns.threads, "foreign": turns.foreign_cores}
            if way in WAYS:
                joules = gk.energy.measure(
                    partial(networks[way], *subject.inputs), min_seconds=0.1, trials=1
                ).energy_j
                seen |= {} if joules is None else {"energy_j": joules.value, "energy_kind": joules.kind.value}
            path_of(out, subject.name, way).write_text(json.dumps(rows[way] | seen))


def score_per_joule(row: Row, stock: Row | None) -> Measurement | None:
    """From `FLOOR` of the score of float32 on."""
    if stock is None or row.get("score") is None or "energy_j" not in row:
        return None
    joules = Measurement(row["energy_j"], "J", Kind(row["energy_kind"]), row["energy_j"], row["energy_j"])
    return quality_per_joule(row["score"], joules, FLOOR * stock["score"])


def text_of(row: Row, stock: Row | None = None) -> tuple[str, ...]:
    number = {
        name: "" if row.get(name) is None else f"{row[name]:,}" for name in ("weight_bytes", "file_bytes")
    }
    score = "" if row.get("score") is None else f"{row['score']:.2f} {row['score_name']}"
    if "left_out" in row:
        return row["network"], row["way"], row["left_out"], *[""] * (len(HEAD) - 3)
    error = f"{row['error']:.1e}" if row["error"] else ""
    ms = f"{1e3 * row['time_s']:.3g}" if "time_s" in row else ""
    mj = f"{1e3 * row['energy_j']:.3g}" if "energy_j" in row else ""
    each = each_joule(score_per_joule(row, stock)).replace("-", "")
    sizes = number["weight_bytes"], number["file_bytes"]
    return row["network"], row["way"], score, error, ms, mj, *sizes, each


def keep(out: Path) -> None:
    """All rows of the folder in one file of the checkout."""
    rows = [row for name in SUBJECTS for row in rows_of(out, name).values()]
    KEPT.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def write_report() -> None:
    """The table and the plot of the docs, of the rows that are kept."""
    kept = json.loads(KEPT.read_text())
    stock = {row["network"]: row for row in kept if row["way"] == STOCK}
    shown = [row for row in kept if "left_out" not in row or row["way"] in rivals.MADE_BY]
    table = markdown_table(HEAD, [text_of(r, stock[r["network"]]) for r in shown], right=range(2, len(HEAD)))
    write_between_markers(DOCS / "quantization.md", table, BEGIN, END)
    rows = [row for row in shown if "left_out" not in row]
    whole = {row["network"]: row["weight_bytes"] for row in rows if row["way"] == STOCK}
    try:
        with drawing(6, 4) as figure:
            axes = figure.subplots()
            for name in whole:
                mine = [r for r in rows if r["network"] == name and r["error"] and "weight_bytes" in r]
                share = [100 * r["weight_bytes"] / whole[name] for r in mine]
                errors = [r["error"] for r in mine]
                axes.loglog(
                    share, errors, MARKS[name], color=COLOURS[name], label=name, markersize=5, alpha=0.8
                )
            axes.set_xlabel("bytes of the weights in memory, % of float32")
            axes.set_ylabel("relative difference of the output")
            axes.set_xticks([6.25, 12.5, 25, 50], ["6.25", "12.5", "25", "50"])
            axes.grid()
            axes.legend(fontsize=7)
            title = "What fewer bytes cost the output"
            put_title(figure, title)
            alt = f"Difference of the output over bytes of the weights, {len(rows)} ways of {len(whole)} networks."
            plot = finish(figure, "quantized-networks", title, alt)
        write_whole(DOCS / "figures" / f"{plot.name}.svg", plot.svg.encode())
    except ImportError as problem:
        print(f"no plot: {problem}")


def make_rows(subject: Subject, ways: str, out: Path) -> None:
    for way, make in ways_here().items():
        path = path_of(out, subject.name, way)
        if ways not in way or path.exists():
            continue
        row = row_of(subject, way, make, out)
        path.write_text(json.dumps(row))
        print(*text_of(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for rows and weights")
    parser.add_argument("--only", default=",".join(SUBJECTS), help="networks")
    parser.add_argument("--ways", default="", help="ways whose name has this in it")
    parser.add_argument(
        "--times", action="store_true", help="take times and joules of the rows that are there"
    )
    parser.add_argument("--keep", action="store_true", help="put the rows into the checkout")
    parser.add_argument("--report", action="store_true", help="write the table and the plot of the docs")
    parser.add_argument("--topics", type=Path, default=topics.FOLDER)
    parser.add_argument("--fashion", type=Path, default=data.FOLDER)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.report:
        return write_report()
    if options.out is None:
        parser.error("--out must name a folder")
    if options.keep:
        return keep(options.out)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(","):
        subject = SUBJECTS[name](options)
        if options.times:
            take_times(subject, options.out)
        else:
            make_rows(subject, options.ways, options.out)


if __name__ == "__main__":
    main()
