"""demosaicnet, the Bayer network: from the raw mosaic of a camera's sensor to a colour photo.

Source: Gharbi, Chaurasia, Paris, Durand, "Deep Joint Demosaicking and Denoising", SIGGRAPH Asia 2016; the released
network, 15 convolutions of 64 channels at half resolution. 99.7 % of its multiply-accumulates are 3x3, stride 1.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..job import Job
from ..photo import CHELSEA, bayer_mosaic, bilinear_demosaic, load_photo, psnr_db
from ..wheels import WheelFile, fetch
from . import Network

WEIGHTS = WheelFile(
    package="demosaicnet",
    version="0.0.14",
    inner="demosaicnet/data/bayer.pth",
    sha256="a90f45c34b89fea3faf49060687839a7d191d302f597a302b31d1bbc021ff7d8",
    licence="MIT (LICENSE in the wheel)",
    wheel_mb=3.6,
)
DEPTH, WIDTH = 15, 64

# The network was trained without padding; with padding 1 its size is kept and an edge of this many pixels differs
# (15 convolutions at half resolution reach 30 pixels, the last one 1 more). Pictures are judged within.
EDGE = 32


class BayerDemosaicker(nn.Module):
    """``mosaic [n, 3, h, w]`` to ``photo [n, 3, h, w]``, values in 0..1; h and w at least 2, odd ones included."""

    def __init__(self) -> None:
        super().__init__()
        main = nn.Sequential()
        main.add_module("pack_mosaic", nn.Conv2d(3, 4, 2, stride=2))
        for i in range(1, DEPTH + 1):
            in_c, out_c = 4 if i == 1 else WIDTH, 2 * WIDTH if i == DEPTH else WIDTH
            main.add_module(f"conv{i}", nn.Conv2d(in_c, out_c, 3, padding=1))
            main.add_module(f"relu{i}", nn.ReLU(inplace=True))
        self.main_processor = main
        self.residual_predictor = nn.Conv2d(WIDTH, 12, 1)
        self.upsampler = nn.ConvTranspose2d(12, 3, 2, stride=2, groups=3)
        self.fullres_processor = nn.Sequential()
        self.fullres_processor.add_module("post_conv", nn.Conv2d(6, WIDTH, 3, padding=1))
        self.fullres_processor.add_module("post_relu", nn.ReLU(inplace=True))
        self.fullres_processor.add_module("output", nn.Conv2d(WIDTH, 3, 1))

    def forward(self, mosaic: Tensor) -> Tensor:
        h, w = mosaic.shape[-2:]
        if h % 2 or w % 2:  # the mosaic is packed 2x2; reflecting one pixel keeps the colour pattern in phase
            mosaic = F.pad(mosaic, (0, w % 2, 0, h % 2), mode="reflect")
        features = self.main_processor(mosaic)
        filters, masks = features.split(WIDTH, dim=1)
        residual = self.upsampler(self.residual_predictor(filters * masks))
        out = self.fullres_processor(torch.cat([mosaic, residual], dim=1))
        return out[..., :h, :w]


def build() -> BayerDemosaicker:
    """The network with its released weights, in eval mode. Raises FetchError where they cannot be had."""
    network = BayerDemosaicker()
    network.load_state_dict(torch.load(fetch(WEIGHTS), map_location="cpu", weights_only=True))
    return network.eval()


def job(photo: Path | None = None) -> Job:
    """The network on the mosaic of a photo, judged against the photo itself."""
    truth = load_photo(photo)
    mosaic = bayer_mosaic(truth)
    bilinear = bilinear_demosaic(mosaic)

    def inner(picture: Tensor) -> Tensor:
        edge = EDGE if min(picture.shape[-2:]) > 3 * EDGE else 0
        return picture[..., edge : picture.shape[-2] - edge, edge : picture.shape[-1] - edge]

    return Job(
        name="demosaicnet",
        network=build(),
        inputs=(mosaic,),
        score=lambda output: psnr_db(inner(output), inner(truth)),
        score_name="PSNR",
        score_unit="dB",
        simple_score=psnr_db(inner(bilinear), inner(truth)),
        simple_name="bilinear",
        pictures={"camera mosaic": mosaic, "bilinear": bilinear},
        truth=truth,
        role="3x3",
        about=NETWORKS[0].about,
        as_picture=lambda output: output,
    )


NETWORKS = (
    Network(
        name="demosaicnet",
        about="raw mosaic of a camera's sensor to a colour photo",
        role="3x3",
        files=(WEIGHTS, CHELSEA),
        gmacs=19.3,
        share_3x3=0.997,
        job=job,
    ),
)
