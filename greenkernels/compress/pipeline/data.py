"""Labelled images: the four files that MNIST and its likes come in, or what a function of the user's gives."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
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
    """Images ``[count, 1, h, w]`` float32 of mean 0 and spread 1 over the training images; labels ``[count]`` int64."""

    images: Tensor
    labels: Tensor


class Data(NamedTuple):
    """What to train and to test on.

    Attributes:
        name: of a known set, else "unknown".
        checksum: of all files.
    """

    train: Split
    test: Split
    name: str
    checksum: str


def load(folder: Path, checksum: str = "") -> Data:
    """The images of a folder with the four files of MNIST's format, packed by gzip or not.

    Args:
        folder: with ``train-images-idx3-ubyte.gz`` and so on.
        checksum: what they must have; "" for any.

    Raises:
        DataError: a file is missing or broken, or the checksum is another one.
    """
    raw = [_read(folder, name) for name in FILES]
    found = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in raw)).hexdigest()
    if checksum and checksum != found:
        raise DataError(f"{folder}: the checksum must be {checksum}, got {found}")
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
