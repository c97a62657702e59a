"""What few bits cost a CNN on Fashion-MNIST: accuracy, bytes and milliseconds of each way to quantize it.

    python bench/quantized/bits.py --out FOLDER [--data FOLDER] [--only TEXT] [--untimed] [--quick]

The network is the CNN of `bench/pruning/training.py`, trained for 8 epochs; each way is a file of FOLDER, and a run
that was stopped goes on where it was. Times are taken last, in turns with the network as it is. `report.md` and a plot
are made of all rows that are there. What looks at data looks at 16 batches of the training images; what trains, trains
for 2 epochs at 2e-4.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "pruning"))

from training import accuracy, batches, cnn, train

import greenkernels as gk
from greenkernels.compress.pipeline.data import FOLDER, Split, load, shortened
from greenkernels.compress.pipeline.structure import describe, rebuild
from greenkernels.measure.contender import Contender
from greenkernels.measure.turns import Schedule, take_turns
from greenkernels.report.plots.canvas import LOSES, OURS, drawing, finish, put_title
from greenkernels.report.tables import markdown_table

EPOCHS, TUNED, TUNING_RATE = 8, 2, 2e-4
LOOKED_AT = 16
TIMED_BATCH = 256
STOCK = "float32"
Make = Callable[[nn.Module, Split, int], nn.Module]


def looking(bits: int, **options: object) -> Make:
    """Rounded after a look at training images."""

    def make(model: nn.Module, split: Split, epochs: int) -> nn.Module:
        seen = [x for (x, _), _ in zip(batches(split, 1000), range(LOOKED_AT), strict=False)]
        return gk.compress.quantize(model, bits, batches=seen, **options)

    return make


def aware(bits: int, learns_steps: bool) -> Make:
    """Trained on with rounding."""

    def make(model: nn.Module, split: Split, epochs: int) -> nn.Module:
        wrapped = gk.compress.QuantizationAware(model, bits, learns_steps=learns_steps)
        train(wrapped, split, range(epochs), epochs, TUNING_RATE)
        return wrapped.finished()

    return make


def shared(bits: int, values: str = "k-means", trains: bool = False) -> Make:
    """Codebooks, trained on or not."""

    def make(model: nn.Module, split: Split, epochs: int) -> nn.Module:
        made = gk.compress.share(model, bits, values=values, group=64)
        if trains:
            train(made, split, range(epochs), epochs, TUNING_RATE)
        return gk.compress.finish_shared(made)

    return make


WAYS: dict[str, Make] = {
    STOCK: lambda model, split, epochs: model,
    "8 bit": lambda model, split, epochs: gk.compress.quantize(model),
    **{f"8 bit, inputs fixed by {how}": looking(8, inputs=how) for how in ("largest", "squares", "entropy")},
    "8 bit, second order": looking(8, rounding="second-order"),
    "4 bit": lambda model, split, epochs: gk.compress.quantize(model, 4),
    "4 bit, bias corrected": looking(4, correct_bias=True),
    "4 bit, second order": looking(4, rounding="second-order"),
    "4 bit, trained straight through": aware(4, False),
    "4 bit, trained with its steps": aware(4, True),
    "codebook of 4 bits": shared(4),
    "codebook of 4 bits, trained": shared(4, trains=True),
    "powers of two, 4 bits": shared(4, "power-of-two"),
    "codebook of 2 bits": shared(2),
    "codebook of 2 bits, trained": shared(2, trains=True),
}


def path_of(out: Path, name: str) -> Path:
    return out / (name.replace(", ", "-").replace(" ", "_") + ".json")


def stock_network(out: Path, split: Split, epochs: int) -> nn.Module:
    """The trained network, from its file if it is there."""
    torch.manual_seed(0)
    model, path = cnn(), out / "stock.safetensors"
    if path.exists():
        return gk.load(model, path).eval()
    train(model, split, range(epochs), epochs)
    gk.save(model, path)
    return model.eval()


def row_of(model: nn.Module, name: str, out: Path, test: Split) -> dict[str, object]:
    file = gk.save(model, path_of(out, name).with_suffix(".safetensors"))
    about = {"structure": describe(model), "torch": torch.__version__}
    return {"name": name, "accuracy": accuracy(model, test), "file_bytes": file.stat().st_size} | about


def network_of(row: dict[str, object], out: Path) -> nn.Module:
    """The network of a row, from its file."""
    return gk.load(
        rebuild(cnn(), row["structure"]), path_of(out, row["name"]).with_suffix(".safetensors")
    ).eval()


def take_times(models: dict[str, nn.Module], x: torch.Tensor) -> dict[str, dict[str, object]]:
    """Seconds of a batch with one thread, in turns."""
    torch.set_num_threads(1)
    turns = take_turns(
        [Contender(n, m, keep=True) for n, m in models.items()], (x,), Schedule(9, budget_s=8.0)
    )
    return {
        name: {"time_s": turns.time(name).value, "speedup": turns.compare(STOCK, name).ratio.value}
        for name in models
        if name != STOCK
    } | {STOCK: {"time_s": turns.time(STOCK).value, "speedup": 1.0}}


def write_report(out: Path, rows: list[dict[str, object]]) -> None:
    """A table and, where matplotlib is there, accuracy over bytes."""
    head = ("weights", "test accuracy, %", "lost, points", "file, bytes", "ms", "speed-up")
    first = rows[0]["accuracy"]
    table = [
        (
            row["name"],
            f"{100 * row['accuracy']:.2f}",
            f"{100 * (first - row['accuracy']):.2f}",
            f"{row['file_bytes']:,}",
            f"{1e3 * row['time_s']:.2f}" if "time_s" in row else "-",
            f"{row['speedup']:.2f}x" if "speedup" in row else "-",
        )
        for row in rows
    ]
    parts = ["# Few bits on Fashion-MNIST", markdown_table(head, table, right=range(1, 6))]
    (out / "report.md").write_text("\n\n".join(parts) + "\n")
    try:
        with drawing(6, 4) as figure:
            axes = figure.subplots()
            for row in rows:
                ours = row["name"] != STOCK
                axes.semilogx(
                    [row["file_bytes"]], [100 * row["accuracy"]], "o", color=OURS if ours else LOSES
                )
                axes.annotate(
                    row["name"],
                    (row["file_bytes"], 100 * row["accuracy"]),
                    xytext=(5, 3),
                    fontsize=6,
                    textcoords="offset points",
                )
            axes.set_xlabel("bytes on disk")
            axes.set_ylabel("test accuracy, %")
            axes.grid(axis="y")
            title = "Accuracy against bytes"
            put_title(figure, title)
            alt = f"Test accuracy over bytes on disk of {len(rows)} ways to store the weights of one CNN."
            finish(figure, "quantized-accuracy", title, alt).save(out)
    except ImportError as problem:
        print(f"no plot: {problem}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for rows and report")
    parser.add_argument("--data", type=Path, default=FOLDER)
    parser.add_argument("--only", default="", help="ways whose name has this in it")
    parser.add_argument("--untimed", action="store_true", help="round and train alone")
    parser.add_argument(
        "--quick", action="store_true", help="one epoch each, 2,000 images: to see that it runs"
    )
    arguments = parser.parse_args()
    whole, epochs, tuned = load(arguments.data), EPOCHS, TUNED
    if arguments.quick:
        epochs = tuned = 1
        whole = shortened(whole)
    data = whole.train, whole.test
    arguments.out.mkdir(parents=True, exist_ok=True)
    stock = stock_network(arguments.out, data[0], epochs)
    for name, make in WAYS.items():
        path = path_of(arguments.out, name)
        if arguments.only in name and not path.exists():
            path.write_text(json.dumps(row_of(make(stock, data[0], tuned), name, arguments.out, data[1])))
            print(f"{name}: {json.loads(path.read_text())['accuracy']:.2%}", flush=True)
    there = [path_of(arguments.out, name) for name in WAYS if path_of(arguments.out, name).exists()]
    rows = [json.loads(path.read_text()) for path in there]
    if not arguments.untimed:
        found = take_times(
            {r["name"]: network_of(r, arguments.out) for r in rows}, data[1].inputs[:TIMED_BATCH]
        )
        rows = [row | found[row["name"]] for row in rows]
        for path, row in zip(there, rows, strict=True):
            path.write_text(json.dumps(row))
    write_report(arguments.out, rows)


if __name__ == "__main__":
    main()
