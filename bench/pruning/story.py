"""From a dense network to a sparse one on real data: train, prune, retrain, convert, evaluate, time.

    python bench/pruning/story.py --out FOLDER [--data FOLDER] [--networks mlp,cnn] [--quick]

Each cell (network, importance, share of zeros) is a file of FOLDER, and of FOLDER/seed-N for `--seeds` other than 0; a
run that was stopped goes on where it was. The report, `report.md` with a plot, is written at the end, from all cells
that are there. Times are taken last, when nothing else of the story runs: `--stage train` or `--stage time` does one of
the two alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import report
import torch
from torch import nn
from training import CUTS, NETWORKS, RETRAIN_RATE, accuracy, pruner_for, train

import greenkernels as gk
from greenkernels.compress.pipeline.data import FOLDER, Split, load, shortened
from greenkernels.measure.contender import Contender
from greenkernels.measure.machine import cpu_facts
from greenkernels.measure.turns import Schedule, take_turns

AMOUNTS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
IMPORTANCES = ("magnitude", "gradient", "fisher", "obs")
EPOCHS, RETRAIN = 4, 4  # of the dense network, and of each pruned one after that
TIMED_BATCH = 256
SPARSE = {"csr_matmul", "csr_conv2d"}  # what a plan may replace layers with
TIMING = Schedule(rounds=9, budget_s=2.0)


def cells(arguments: argparse.Namespace) -> Iterator[tuple[str, str, float]]:
    """The dense control first: it trains as long as the pruned ones do."""
    for network in arguments.networks.split(","):
        yield network, "dense", 0.0
        for importance in arguments.importances.split(","):
            for amount in map(float, arguments.amounts.split(",")):
                yield network, importance, amount


def path_of(out: Path, network: str, importance: str, amount: float, ending: str) -> Path:
    """Where a cell is kept."""
    return out / f"{network}-{importance}-{amount:.2f}.{ending}"


def write(path: Path, row: dict[str, Any]) -> None:
    """All or nothing, so that a run that was stopped leaves no half of a file."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(row, indent=1))
    part.replace(path)


class Training(NamedTuple):
    """Epochs of the dense network, of each pruned one after that, how often these are cut, and the seed of weights and
    orders."""

    epochs: int
    retrain: int
    cuts: int
    seed: int


def dense_network(out: Path, network: str, data: tuple[Split, Split], how: Training) -> nn.Module:
    """The trained dense network, from its file if it is there."""
    torch.manual_seed(how.seed)
    model = NETWORKS[network]()
    path = out / f"{network}.safetensors"
    if path.exists():
        gk.load(model, path)
    else:
        train(model, data[0], range(how.epochs), how.epochs, seed=how.seed)
        gk.save(model, path)
    return model


def sparse_of(model: nn.Module, importance: str) -> nn.Module:
    """What is saved and timed: the network itself where nothing was pruned."""
    model = copy.deepcopy(model).eval()
    return model if importance == "dense" else gk.compress.to_sparse(model, warn=False)


def train_cell(out: Path, cell: tuple[str, str, float], data: Any, how: Training) -> None:
    """Trains one cell and writes its row and its network."""
    network, importance, amount = cell
    model = dense_network(out, network, data, how)
    began = time.perf_counter()
    pruner = None
    if importance != "dense":
        pruner = pruner_for(model, data[0], amount, importance, how.retrain, how.cuts)
    last = how.epochs + how.retrain
    train(model, data[0], range(how.epochs, last), last, RETRAIN_RATE[network], pruner, how.seed)
    gk.compress.apply_masks(model)
    sparse = sparse_of(model, importance)
    file = gk.save(sparse, path_of(out, *cell, "safetensors"))
    counted = gk.compress.sparsity(sparse)
    row = {
        "network": network,
        "importance": importance,
        "amount": amount,
        "accuracy": accuracy(sparse, data[1]),
        "nonzeros": counted.weights - counted.zeros,
        "weights": counted.weights,
        "file_bytes": file.stat().st_size,
        "train_s": time.perf_counter() - began,
        "epochs": [how.epochs, how.retrain],
        "cuts": how.cuts,
        "seed": how.seed,
        "retrain_rate": RETRAIN_RATE[network],
        "layers": [[layer.name, layer.kind, layer.zeros, layer.weights] for layer in counted.layers],
        "torch": torch.__version__,
    }
    write(path_of(out, *cell, "json"), row)
    print(
        f"{network} {importance} {amount:.0%}: accuracy {row['accuracy']:.2%}, {row['file_bytes']:,} bytes",
        flush=True,
    )


def time_cell(out: Path, cell: tuple[str, str, float], images: torch.Tensor) -> None:
    """Times the sparse network beside the dense one on a batch, with one thread, and adds what that says to its row.

    Of its layers those are sparse that a plan finds faster so.
    """
    network, importance, _ = cell
    path = path_of(out, *cell, "json")
    row = json.loads(path.read_text())
    dense = NETWORKS[network]().eval()
    gk.load(dense, path_of(out, network, "dense", 0.0, "safetensors"))
    x = images[:TIMED_BATCH]
    pruned = NETWORKS[network]().eval()
    pruned.load_state_dict(gk.load(NETWORKS[network](), path_of(out, *cell, "safetensors")).state_dict())
    model = gk.optimize(pruned, x, precision=SPARSE, progress=False, cache=False)
    turns = take_turns([Contender("dense", dense, keep=True), Contender("this", model)], (x,), TIMING)
    said = turns.compare("dense", "this")
    estimate = gk.energy.estimate(model, x)
    row |= {
        "batch": TIMED_BATCH,
        "sparse_layers": [name for name, module in model.named_modules() if hasattr(module, "crow_indices")],
        "threads": torch.get_num_threads(),
        "time_s": said.contender.value,
        "dense_time_s": said.baseline.value,
        "speedup": [said.ratio.low, said.ratio.value, said.ratio.high],
        "verdict": said.verdict,
        "modelled_energy_j": None if estimate.energy_j is None else estimate.energy_j.value,
        "machine": cpu_facts()["name"],
    }
    write(path, row)
    print(
        f"{network} {importance} {cell[2]:.0%}: {row['time_s'] * 1e3:.3f} ms, {said.ratio.value:.2f}x",
        flush=True,
    )


def run(
    arguments: argparse.Namespace,
    out: Path,
    data: tuple[Split, Split],
    how: Training,
    stop: float,
) -> None:
    """Trains and times the cells of one seed that are not there yet."""
    todo = list(cells(arguments))
    if arguments.stage != "time":
        for cell in todo:
            if time.monotonic() < stop and not path_of(out, *cell, "json").exists():
                train_cell(out, cell, data, how)
    if arguments.stage != "train":
        torch.set_num_threads(1)
        for cell in todo:
            path = path_of(out, *cell, "json")
            if time.monotonic() < stop and path.exists() and "time_s" not in json.loads(path.read_text()):
                time_cell(out, cell, data[1].inputs)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="From a dense network to a sparse one on Fashion-MNIST.")
    parser.add_argument("--out", type=Path, required=True, help="folder for cells and report")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder with the four files of the data")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--importances", default=",".join(IMPORTANCES))
    parser.add_argument("--amounts", default=",".join(map(str, AMOUNTS)), help="shares of zeros")
    parser.add_argument(
        "--seeds", default="0", help="of weights and orders; the spread of accuracies over them"
    )
    parser.add_argument(
        "--retrain", type=int, default=RETRAIN, help="epochs after those of the dense network, for all cells"
    )
    parser.add_argument(
        "--cuts", type=int, default=CUTS, help="steps in which a network is pruned, 2 or more"
    )
    parser.add_argument("--stage", choices=("all", "train", "time"), default="all")
    parser.add_argument(
        "--minutes", type=float, default=1e9, help="begin no cell after this time; call again to go on"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one epoch each, 2,000 images: to see that it runs"
    )
    arguments = parser.parse_args()
    whole = load(arguments.data)
    epochs, retrain = EPOCHS, arguments.retrain
    if arguments.quick:
        epochs = retrain = 1
        whole = shortened(whole)
    data = whole.train, whole.test
    stop = time.monotonic() + 60 * arguments.minutes
    for seed in map(int, arguments.seeds.split(",")):
        folder = arguments.out / f"seed-{seed}" if seed else arguments.out
        folder.mkdir(parents=True, exist_ok=True)
        run(arguments, folder, data, Training(epochs, retrain, arguments.cuts, seed), stop)
    report.write(arguments.out)


if __name__ == "__main__":
    main()
