"""Fashion-MNIST from the four files of its Debian package, or of any folder that has them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of the Debian package dataset-fashion-mnist, MIT licence
HOW = (
    "get the Debian package dataset-fashion-mnist: apt-get install dataset-fashion-mnist, or without root "
    "apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb DIR, then --data "
    "DIR/usr/share/datasets/fashion-mnist"
)
MEAN, SPREAD = 0.2860, 0.3530  # of the pixels of the training images, 0 to 1
IMAGES, LABELS = 2051, 2049  # first words of the files


class Split(NamedTuple):
    """Images ``[count, 1, 28, 28]`` float32 of mean 0 and spread 1; labels ``[count]`` int64."""

    images: Tensor
    labels: Tensor


def _read(path: Path, kind: int) -> Tensor:
    raw = gzip.decompress(path.read_bytes())
    magic, count = struct.unpack_from(">ii", raw)
    if magic != kind:
        raise ValueError(f"{path} must begin with the word {kind}, got {magic}")
    if kind == LABELS:
        return torch.frombuffer(bytearray(raw[8:]), dtype=torch.uint8).long()
    rows, cols = struct.unpack_from(">ii", raw, 8)
    pixels = torch.frombuffer(bytearray(raw[16:]), dtype=torch.uint8).float() / 255
    return ((pixels - MEAN) / SPREAD).reshape(count, 1, rows, cols)


def load(folder: Path) -> tuple[Split, Split]:
    """The 60,000 images to train on and the 10,000 to test on.

    Raises:
        FileNotFoundError: the folder does not hold them; the message says where to get them.
    """
    splits = []
    for name in ("train", "t10k"):
        paths = [folder / f"{name}-{what}.gz" for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
        if not all(path.is_file() for path in paths):
            raise FileNotFoundError(f"{folder} does not hold Fashion-MNIST: {HOW}")
        splits.append(Split(_read(paths[0], IMAGES), _read(paths[1], LABELS)))
    return splits[0], splits[1]
