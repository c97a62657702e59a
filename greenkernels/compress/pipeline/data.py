"""What networks are trained and tested on, and a reader of the four files that MNIST and its likes come in."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of the Debian package dataset-fashion-mnist, MIT licence
HOW = (
    "for Fashion-MNIST get the Debian package dataset-fashion-mnist: apt-get install dataset-fashion-mnist, or without "
    "root apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb DIR, then --data "
    "DIR/usr/share/datasets/fashion-mnist"
)
IMAGES, LABELS = 2051, 2049  # first words of the files
FILES = tuple(
    f"{name}-{what}" for name in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
)
# sha256 over the sha256 of the four files, unpacked, in the order above -> what they are.
KNOWN = {"4d8e31d2057f6f938ff47097ba334038e7aafbaf24b67665d2dd1ecda01730a3": "Fashion-MNIST"}


class DataError(ValueError):
    """The data cannot be read; the message names the file and says what to do."""


class Split(NamedTuple):
    """Inputs of a network ``[count, ...]`` and a label of each, ``[count]`` int64."""

    inputs: Tensor
    labels: Tensor


def share_right(output: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest score is that of the label, 0 to 1."""
    return float((output.argmax(1) == labels).double().mean())


@dataclass(frozen=True)
class Data:
    """What to train and to test on.

    Attributes:
        train: images are ``[count, 1, h, w]`` float32 of mean 0 and spread 1 over the training images.
        test: the same of those that nothing is trained on.
        name: of a known set, else "unknown".
        checksum: of all of it.
        judge: of outputs of the network for all labels: a number from 0 to 1, higher is better.
        loss: of the outputs for a batch of labels, to train on; None where nothing can be trained on it.
        timed: inputs of a call that is timed.
        quick: inputs of each split in a quick run, at most.
    """

    train: Split
    test: Split
    name: str
    checksum: str
    judge: Callable[[Tensor, Tensor], float] = share_right
    loss: Callable[[Tensor, Tensor], Tensor] | None = F.cross_entropy
    timed: int = 256
    quick: int = 2000

    def sample(self, most: int) -> Split:
        """So many of the test inputs, evenly over all of them."""
        return spread_over(self.test, most)


def spread_over(split: Split, most: int) -> Split:
    """At most so many of a split, evenly over all of it."""
    count = len(split.labels)
    if count <= most:
        return split
    places = torch.arange(most) * count // most
    return Split(split.inputs[places], split.labels[places])


def shortened(data: Data) -> Data:
    """What a quick run takes of both splits."""
    train, test = (spread_over(split, data.quick) for split in (data.train, data.test))
    return replace(data, train=train, test=test)


def checked(found: str, wanted: str, where: object) -> str:
    """A checksum. Raises DataError where another one is wanted; "" is any."""
    if wanted and wanted != found:
        raise DataError(f"{where}: the checksum must be {wanted}, got {found}")
    return found


def load(folder: Path | None, checksum: str = "") -> Data:
    """The images of a folder with the four files of MNIST's format, packed by gzip or not.

    Args:
        folder: with ``train-images-idx3-ubyte.gz`` and so on; None for that of the Debian package.
        checksum: what they must have; "" for any.

    Raises:
        DataError: a file is missing or broken, or the checksum is another one.
    """
    folder = folder or FOLDER
    raw = [_read(folder, name) for name in FILES]
    whole = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in raw)).hexdigest()
    found = checked(whole, checksum, folder)
    train_x, test_x = (_images(raw[at], FILES[at]) for at in (0, 2))
    spread, mean = torch.std_mean(train_x, correction=0)
    splits = []
    for images, at in ((train_x, 1), (test_x, 3)):
        labels = _labels(raw[at], FILES[at])
        if len(labels) != len(images):
            raise DataError(f"{folder}: {FILES[at]} has {len(labels)} labels for {len(images)} images")
        splits.append(Split((images - mean) / spread.clamp_min(1e-6), labels))
    return Data(*splits, KNOWN.get(found, "unknown"), found)


def _read(folder: Path, name: str) -> bytes:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            try:
                return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            except (OSError, EOFError, zlib.error) as problem:
                raise DataError(f"{path} cannot be unpacked: {problem}") from problem
    raise DataError(f"{folder} does not hold {name}.gz: {HOW}")


def _images(raw: bytes, name: str) -> Tensor:
    count, rows, cols = _head(raw, name, IMAGES, 3)
    return _body(raw, 16, name, count * rows * cols).float().div(255).reshape(count, 1, rows, cols)


def _labels(raw: bytes, name: str) -> Tensor:
    (count,) = _head(raw, name, LABELS, 1)
    return _body(raw, 8, name, count).long()


def _head(raw: bytes, name: str, kind: int, sizes: int) -> tuple[int, ...]:
    if len(raw) < 4 * (sizes + 1):
        raise DataError(f"{name} has {len(raw)} bytes, too few for its head")
    magic, *found = struct.unpack_from(f">{sizes + 1}i", raw)
    if magic != kind:
        raise DataError(f"{name} must begin with the word {kind}, got {magic}")
    return tuple(found)


def _body(raw: bytes, begin: int, name: str, count: int) -> Tensor:
    if len(raw) != begin + count:
        raise DataError(f"{name} must have {begin + count} bytes, got {len(raw)}")
    return torch.frombuffer(bytearray(raw[begin:]), dtype=torch.uint8) if count else torch.zeros(0)
