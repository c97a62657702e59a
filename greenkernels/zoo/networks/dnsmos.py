"""DNSMOS P.835: how good does this speech sound? 9 s of sound through 3x3 convolutions over its spectrogram.

Source: Reddy, Gopal, Cutler, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate
Noise Suppressors", ICASSP 2022; released weights. Maps of 900 x 161 and 450 x 80: odd, long and narrow.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from ..job import Job
from ..onnx_weights import onnx_weights
from ..speech import RATE, TALK, in_noise, load_talk
from ..wheels import WheelFile, fetch
from . import Network

WEIGHTS = WheelFile(
    package="speechmos",
    version="0.0.1.1",
    inner="speechmos/dnsmos_models/sig_bak_ovr.onnx",
    sha256="269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
    licence="MIT (LICENSE.txt in the wheel)",
    wheel_mb=9.4,
)
SAMPLES = 144_160  # 9.01 s
BEGIN_S = 14.0  # of the part of the talk that is judged
WINDOW, FREQUENCIES = 320, 161
WIDTHS = (1, 128, 64, 64, 32, 32, 32, 64)
POOLED = (3, 4, 5)  # numbers of the convolutions that maps are halved after
QUIET = 1e-12  # power below which it is silent
NOISY_DB = 10.0


class SpeechQuality(nn.Module):
    """``samples [n, 144160]`` in -1..1 to raw scores ``[n, 3]``: of the voice, the background, and overall."""

    def __init__(self) -> None:
        super().__init__()
        self.real = nn.Conv1d(1, FREQUENCIES, WINDOW, stride=WINDOW // 2, bias=False)
        self.imaginary = nn.Conv1d(1, FREQUENCIES, WINDOW, stride=WINDOW // 2, bias=False)
        layers: list[nn.Module] = []
        for number, (in_c, out_c) in enumerate(pairwise(WIDTHS)):
            layers += [nn.Conv2d(in_c, out_c, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if number in POOLED else []
        self.features = nn.Sequential(*layers)
        self.scores = nn.Sequential(
            nn.Linear(WIDTHS[-1], 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 3)
        )

    def forward(self, samples: Tensor) -> Tensor:
        sound = samples[:, None]
        power = self.real(sound).square() + self.imaginary(sound).square()
        spectrogram = power.clamp(min=QUIET).log10().transpose(1, 2)[:, None]
        return self.scores(self.features(spectrogram).amax(dim=(2, 3)))


@torch.no_grad()
def build() -> SpeechQuality:
    """The network with its released weights, in eval mode.

    Raises:
        FetchError: the weights cannot be had.
        ImportError: the package onnx is missing.
    """
    network, theirs = SpeechQuality(), onnx_weights(fetch(WEIGHTS))
    for layer, name in ((network.real, "real"), (network.imaginary, "imag")):
        layer.weight.copy_(theirs[f"time2freq/stft-{name}/kernel:0"].view_as(layer.weight))
    convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    for number, layer in enumerate(convolutions):
        name = "conv2d" + (f"_{number}" if number else "")
        layer.weight.copy_(theirs[f"{name}/kernel:0"])
        layer.bias.copy_(theirs[f"{name}/bias:0"])
    dense = [layer for layer in network.scores if isinstance(layer, nn.Linear)]
    for layer, name in zip(dense, ("dense", "dense_1", "dense_3"), strict=True):
        layer.weight.copy_(theirs[f"mos_estimator_logpow/{name}/MatMul/ReadVariableOp/resource:0"].T)
        layer.bias.copy_(theirs[f"mos_estimator_logpow/{name}/BiasAdd/ReadVariableOp/resource:0"])
    return network.eval()


def overall(output: Tensor) -> float:
    """The overall score as people give it, 1 (bad) to 5; the curve is the one of speechmos/dnsmos.py in the wheel."""
    raw = float(output[0, 2])
    return -0.06766283 * raw**2 + 1.11546468 * raw + 0.04602535


def speech() -> Tensor:
    """What is judged, ``[1, 144160]``."""
    begin = int(BEGIN_S * RATE)
    return load_talk()[None, begin : begin + SAMPLES].clone()


def job(photo: Path | None = None) -> Job:
    """The network on 9 s of a talk, judged by its own overall score; under noise it has to fall."""
    network, samples = build(), speech()
    with torch.inference_mode():
        noisy = overall(network(in_noise(samples, NOISY_DB)))
    (known,) = NETWORKS
    return Job(
        name=known.name,
        network=network,
        inputs=(samples,),
        score=overall,
        score_name="overall quality",
        score_unit="of 5",
        simple_score=noisy,
        simple_name=f"the same speech under noise ({NOISY_DB:.0f} dB)",
        role=known.role,
        about=known.about,
    )


NETWORKS = (
    Network(
        name="dnsmos",
        about="9 s of speech to how good it sounds",
        role="3x3",
        files=(WEIGHTS, TALK),
        gmacs=19.4,
        share_3x3=0.995,
        job=job,
        takes_photo=False,
    ),
)
