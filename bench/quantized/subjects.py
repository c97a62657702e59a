"""The five networks that bench/quantized judges: each with inputs, what ranges are found on, and a score."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import greenkernels as gk
from greenkernels.compress.pipeline import data
from greenkernels.compress.pipeline.networks import residual
from greenkernels.zoo.networks import demosaicnet, hed, minilm
from greenkernels.zoo.photo import ASTRONAUT, bayer_mosaic, load_photo

sys.path.append(str(Path(__file__).resolve().parents[1] / "pruning"))
import topics
import training

EPOCHS, TUNED, TUNING_RATE = 5, 2, 2e-4
LOOKED_AT = 16  # batches of training images
RATES = {"fashion": training.RATE, "residual": 3e-3}

Inputs = tuple[Any, ...]


@dataclass
class Subject:
    """A network, an input to time and compare, and what judges it.

    Attributes:
        calibration: arguments of calls that are looked at; judged by nothing.
        score: of a network, the higher the better; None where no truth is published.
        tune: trains a network on a little; None where there is nothing to train on.
        free: dimensions of the inputs whose sizes differ from call to call.
    """

    name: str
    network: nn.Module
    inputs: Inputs
    calibration: list[Inputs]
    score: Callable[[nn.Module], float] | None = None
    score_name: str = ""
    tune: Callable[[nn.Module], None] | None = None
    free: tuple[int, ...] = (0,)


def in_channels_last(inputs: Inputs) -> Inputs:
    return tuple(
        x.contiguous(memory_format=torch.channels_last) if isinstance(x, Tensor) and x.dim() == 4 else x
        for x in inputs
    )


def of_minilm(options: argparse.Namespace) -> Subject:
    texts, labels = topics.texts_of(options.topics, topics.TOPICS, 200)
    others, _ = topics.texts_of(options.topics, topics.CALIBRATION, 256)
    job = minilm.job()
    pieces = topics.WordPiece(topics.fetch(minilm.VOCABULARY))
    looked_at = [tuple(pieces(others[i : i + topics.BATCH])) for i in range(0, len(others), topics.BATCH)]

    def score(network: nn.Module) -> float:
        found = topics.right(topics.directions_of(network, texts, pieces), labels)
        return 100 * float(found.double().mean())

    return Subject("minilm", job.network, job.inputs, looked_at, score, "% of topics", free=(0, 1))


def of_demosaicnet(options: argparse.Namespace) -> Subject:
    job, other = demosaicnet.job(), bayer_mosaic(load_photo(default=ASTRONAUT))
    inputs = in_channels_last(job.inputs)
    network = job.network.to(memory_format=torch.channels_last)
    return Subject(
        "demosaicnet",
        network,
        inputs,
        [in_channels_last((other,))],
        lambda network: float(job.quality(network(*inputs))),
        "dB",
        free=(2, 3),
    )


def of_hed(options: argparse.Namespace) -> Subject:
    job = hed.job()
    other = hed.prepare(load_photo(default=ASTRONAUT))
    network = job.network.to(memory_format=torch.channels_last)
    return Subject("hed", network, in_channels_last(job.inputs), [in_channels_last((other,))], free=(2, 3))


def of_images(name: str, build: Callable[[], nn.Module], options: argparse.Namespace) -> Subject:
    """A network for Fashion-MNIST, trained once; its state is kept in the folder of the rows."""
    read = data.load(options.fashion)
    train, test = read.train, read.test
    torch.manual_seed(0)
    network, path = build(), options.out / f"{name}-stock.safetensors"
    if path.exists():
        gk.load(network, path)
    else:
        training.train(network, train, range(EPOCHS), EPOCHS, RATES[name])
        gk.save(network, path)
    looked_at = [
        in_channels_last((x,))
        for (x, _), _ in zip(training.batches(train, 1000), range(LOOKED_AT), strict=False)
    ]
    judged = data.Split(*in_channels_last((test.inputs,)), test.labels)
    return Subject(
        name,
        network.eval().to(memory_format=torch.channels_last),
        in_channels_last((test.inputs[:256],)),
        looked_at,
        lambda network: 100 * training.accuracy(network, judged),
        "% of images",
        lambda network: training.train(network, train, range(TUNED), TUNED, TUNING_RATE),
    )


SUBJECTS: dict[str, Callable[[argparse.Namespace], Subject]] = {
    "minilm": of_minilm,
    "demosaicnet": of_demosaicnet,
    "hed": of_hed,
    "residual": partial(of_images, "residual", residual),
    "fashion": partial(of_images, "fashion", training.cnn),
}
