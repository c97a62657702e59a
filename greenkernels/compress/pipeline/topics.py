"""Quotations by topic, and the zoo's sentence encoder, MiniLM, as what tells topics apart: nothing is trained.

The texts are those of the Debian package fortunes, one file a topic. A text is right if, of the mean directions of all
other texts of each topic, that of its own topic is the nearest. What is calibrated looks at quotations of other files,
which no text that is judged comes from.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...zoo.networks.minilm import VOCABULARY, build
from ...zoo.wheels import FetchError, fetch
from ...zoo.wordpiece import WordPiece
from .data import Data, DataError, Split, checked

FOLDER = Path("/usr/share/games/fortunes")  # of the Debian package fortunes
HOW = (
    "get the Debian package fortunes: apt-get install fortunes, or without root apt-get download fortunes && dpkg -x "
    "fortunes_*.deb DIR, then --data DIR/usr/share/games/fortunes"
)
TOPICS = (
    *("food", "law", "medicine", "computers", "sports", "love"),
    *("kids", "art", "education", "pets", "politics", "science"),
)
CALIBRATION = ("literature", "miscellaneous", "people", "wisdom")  # to calibrate on
MOST, MOST_CALIBRATION = 200, 256  # texts of a topic
LENGTHS = (40, 250)  # characters of the texts that are taken
BATCH = 32  # texts of a timed call
QUICK = 96


class TopicEncoder(nn.Module):
    """Pieces ``[texts, tokens]`` int64, 0 where there is none, to directions ``[texts, 384]`` of length 1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pieces: Tensor) -> Tensor:
        pieces = pieces[:, : int((pieces != 0).any(0).sum())]  # up to the longest text of this batch
        return self.encoder(pieces, (pieces != 0).float())


def minilm() -> nn.Module:
    """The encoder with its weights; the factory that recipes name."""
    return TopicEncoder(build()).eval()


def load(folder: Path | None, checksum: str = "") -> Data:
    """Quotations as numbers of their pieces, the shortest first, so that batches hold texts of like length.

    Args:
        folder: with a file a topic; None for that of the Debian package.
        checksum: as for `greenkernels.compress.pipeline.data.load`.

    Raises:
        DataError: the quotations or the vocabulary cannot be had, or the checksum is another one.
    """
    folder = folder or FOLDER
    try:
        cut = WordPiece(fetch(VOCABULARY))
    except FetchError as problem:
        raise DataError(str(problem)) from problem
    splits, hashed = [], hashlib.sha256(VOCABULARY.sha256.encode())
    for topics, most in ((CALIBRATION, MOST_CALIBRATION), (TOPICS, MOST)):
        texts, numbers = texts_of(folder, topics, most)
        hashed.update("\n".join(texts).encode())
        pieces, mask = cut(texts)
        order = mask.sum(1).argsort(stable=True)
        splits.append(Split(pieces[order], numbers[order]))
    found = checked(hashed.hexdigest(), checksum, folder)
    return Data(*splits, "quotations", found, judge=share_right, loss=None, timed=BATCH, quick=QUICK)


def texts_of(folder: Path, topics: tuple[str, ...], most: int) -> tuple[list[str], Tensor]:
    """Texts, at most ``most`` of a topic, drawn with a fixed seed, and the number of the topic of each.

    Raises:
        DataError: the folder does not hold them; the message says where to get them.
    """
    texts: list[str] = []
    numbers: list[int] = []
    for number, topic in enumerate(topics):
        path = folder / topic
        if not path.is_file():
            raise DataError(f"{folder} does not hold the quotations {topic!r}: {HOW}")
        whole = (" ".join(t.split()) for t in path.read_text("utf-8", errors="replace").split("\n%\n"))
        fitting = [text for text in whole if LENGTHS[0] <= len(text) <= LENGTHS[1]]
        order = torch.randperm(len(fitting), generator=torch.Generator().manual_seed(1)).tolist()
        texts += [fitting[i] for i in order[:most]]
        numbers += [number] * min(most, len(fitting))
    return texts, torch.tensor(numbers)


def right(directions: Tensor, topics: Tensor) -> Tensor:
    """Which texts find their topic, each left out of the mean of its own."""
    sums = torch.stack([directions[topics == topic].sum(0) for topic in range(len(TOPICS))])
    near = directions @ F.normalize(sums, dim=1).T
    own = F.normalize(sums[topics] - directions, dim=1)
    near[torch.arange(len(topics)), topics] = (directions * own).sum(1)
    return near.argmax(1) == topics


def share_right(directions: Tensor, topics: Tensor) -> float:
    """Share of `right`, 0 to 1."""
    return float(right(directions, topics).double().mean())
