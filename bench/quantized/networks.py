"""What 8 bits cost and give four real networks: quality, difference of the output, ms, J with its kind, bytes.

    python bench/quantized/networks.py [--only minilm,hed] [--topics FOLDER] [--fashion FOLDER] [--cnn FILE]

minilm, demosaicnet and hed are the zoo's; fashion is the CNN of bench/pruning, trained here for five epochs unless
--cnn has its state. Every linear layer and convolution that is wide enough goes to 8 bits: with inputs quantized
dynamically; with 8 bits between layers, ranges found on inputs that are not judged; with Winograd's tiles. Texts and
images come from Debian packages, as `topics.py` and `bench/pruning/fashion.py` say.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import greenkernels as gk
from greenkernels.measure.clock import Clock
from greenkernels.measure.turns import Contender, Schedule, take_turns
from greenkernels.planning.candidates import named
from greenkernels.zoo.networks import demosaicnet, hed, minilm
from greenkernels.zoo.photo import ASTRONAUT, bayer_mosaic, load_photo

sys.path.append(str(Path(__file__).resolve().parents[1] / "pruning"))
import fashion
import topics
import training

SCHEDULE = Schedule(rounds=5, min_rounds=5, timed=2, untimed=1)
EPOCHS = 5
STEMS = {"int8_gemm", "int8_conv2d"}


@dataclass
class Subject:
    """A network, an input to time and compare, and what judges it.

    Attributes:
        calibration: arguments of a call that ranges are taken from; judged by nothing.
        score: of a network, the higher the better; None where no truth is published.
    """

    name: str
    network: nn.Module
    inputs: tuple[Any, ...]
    calibration: tuple[Any, ...]
    score: Callable[[nn.Module], float] | None
    score_name: str = ""


def of_minilm(options: argparse.Namespace) -> Subject:
    texts, labels = topics.texts_of(options.topics, 200)
    job = minilm.job()
    pieces = topics.WordPiece(topics.fetch(minilm.VOCABULARY))

    def score(network: nn.Module) -> float:
        found = topics.right(topics.directions_of(network, texts, pieces), labels)
        return 100 * float(found.double().mean())

    return Subject("minilm", job.network, job.inputs, job.inputs, score, "topics right, %")


def of_demosaicnet(options: argparse.Namespace) -> Subject:
    job, other = demosaicnet.job(), bayer_mosaic(load_photo(default=ASTRONAUT))

    def score(network: nn.Module) -> float:
        return float(job.quality(network(*in_channels_last(job.inputs))))

    return Subject("demosaicnet", job.network, job.inputs, (other,), score, "PSNR, dB")


def of_hed(options: argparse.Namespace) -> Subject:
    job = hed.job()
    return Subject("hed", job.network, job.inputs, (hed.prepare(load_photo(default=ASTRONAUT)),), None)


def of_fashion(options: argparse.Namespace) -> Subject:
    train, test = fashion.load(options.fashion)
    torch.manual_seed(0)
    network = training.cnn()
    if options.cnn:
        network.load_state_dict(torch.load(options.cnn, weights_only=True))
    else:
        training.train(network, train, range(EPOCHS), EPOCHS)
    judged = fashion.Split(test.images.contiguous(memory_format=torch.channels_last), test.labels)

    def score(network: nn.Module) -> float:
        return 100 * training.accuracy(network, judged)

    return Subject(
        "fashion", network.eval(), (test.images[:256],), (train.images[:1000],), score, "accuracy, %"
    )


SUBJECTS = {"minilm": of_minilm, "demosaicnet": of_demosaicnet, "hed": of_hed, "fashion": of_fashion}


def in_channels_last(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        x.contiguous(memory_format=torch.channels_last) if isinstance(x, Tensor) and x.dim() == 4 else x
        for x in inputs
    )


def variants(network: nn.Module, calibration: tuple[Any, ...]) -> Iterator[tuple[str, nn.Module]]:
    """Name and network: everything that is wide enough in 8 bits."""
    options = {"precision": STEMS, "max_error": math.inf, "measure": False, "cache": False, "progress": False}
    linked = gk.plan(network, calibration, **options)
    dynamic, tiled = copy.deepcopy(linked), copy.deepcopy(linked)
    for layer in dynamic.layers + tiled.layers:
        layer.options = {}
    for layer in tiled.replaced:
        choices = named(layer.stem).options(network.get_submodule(layer.names[0]))
        layer.options = next((choice for choice in choices if "tile" in choice), {})
    yield "8 bit", dynamic.apply(network)
    if any("output_range" in layer.options for layer in linked.layers):
        yield "8 bit, also between layers", linked.apply(network)
    if any(layer.options for layer in tiled.layers):
        yield "8 bit, Winograd's tiles", tiled.apply(network)


def weight_bytes(network: nn.Module) -> int:
    """Of all linear layers and convolutions, as their kernels read them."""
    total = 0
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            parts = [module.taps, module.tap_scale] if hasattr(module, "taps") else []
            if hasattr(module, "packed") and not parts:
                parts = [module.packed, module.weight_scale]
            total += sum(part.nbytes for part in parts or [module.weight])
    return total


def times_of(networks: dict[str, nn.Module], inputs: tuple[Any, ...]) -> dict[str, float]:
    """Lower quartiles in ms, in turns."""
    contenders = [Contender(name, network, keep=True) for name, network in networks.items()]
    turns = take_turns(contenders, inputs, SCHEDULE, clock=Clock(), progress=lambda share: None)
    return {name: 1e3 * turns.time(name).value for name in networks}


def report(subject: Subject) -> None:
    network = copy.deepcopy(subject.network).to(memory_format=torch.channels_last)
    inputs, calibration = in_channels_last(subject.inputs), in_channels_last(subject.calibration)
    networks = {"float32": network} | dict(variants(network, calibration))
    with torch.inference_mode():
        exact = network(*inputs)
        times = times_of(networks, inputs)
        for name, candidate in networks.items():
            error = float((candidate(*inputs) - exact).norm() / exact.norm())
            score = f"{subject.score(candidate):.2f} {subject.score_name}" if subject.score else ""
            joules = gk.energy.measure(lambda run=candidate: run(*inputs), min_seconds=0.2, trials=1).energy_j
            said = "" if joules is None else f"{1e3 * joules.value:.3g} ({joules.kind.value})"
            row = (subject.name, name, score, f"{error:.1e}" if error else "", f"{times[name]:.3g}", said)
            print(f"| {' | '.join(row)} | {weight_bytes(candidate):,} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(SUBJECTS))
    parser.add_argument("--topics", type=Path, default=topics.FOLDER)
    parser.add_argument("--fashion", type=Path, default=fashion.FOLDER)
    parser.add_argument("--cnn", type=Path, help="state of the CNN, as bench/pruning/story.py writes it")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| network | layers | score | difference of the output | ms | mJ | bytes of weights |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name in options.only.split(","):
        report(SUBJECTS[name](options))


if __name__ == "__main__":
    main()
