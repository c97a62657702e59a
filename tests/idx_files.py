"""Four small files in the format of MNIST, of random images."""

import gzip
import struct
from pathlib import Path

import torch

from greenkernels.compress.pipeline.data import FILES


def idx(count, *sizes, kind):
    """One file, unpacked."""
    body = torch.randint(10 if kind == 2049 else 256, (count, *sizes), dtype=torch.uint8)
    return struct.pack(f">{2 + len(sizes)}i", kind, count, *sizes) + body.numpy().tobytes()


def write_files(folder: Path) -> Path:
    """96 images to train on and 40 to test on."""
    torch.manual_seed(0)
    folder.mkdir()
    for name, count in zip(FILES, (96, 96, 40, 40), strict=True):
        images = "images" in name
        raw = idx(count, *((28, 28) if images else ()), kind=2051 if images else 2049)
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
    return folder
