"""winograd_conv2d against torch, on layers of real networks.

`greenkernels bench winograd_conv2d` runs the cases in turns and writes rows, which is what gets published; pytest runs
each contender by itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.nn import WinogradConv2d

EPS = torch.finfo(torch.float32).eps

# name: (batch, in_c, out_c, h, w, padding)
SHAPES = {
    "tiny 1x3x5x7": (1, 3, 5, 5, 7, 1),
    "tiny 2x17x14x13": (2, 17, 33, 14, 13, 0),
    "demosaicnet conv1 4-64 150x226": (1, 4, 64, 150, 226, 1),
    "demosaicnet conv2 64-64 150x226": (1, 64, 64, 150, 226, 1),
    "demosaicnet conv15 64-128 150x226": (1, 64, 128, 150, 226, 1),
    "demosaicnet post_conv 6-64 300x452": (1, 6, 64, 300, 452, 1),
    "vgg16 conv1_2 64-64 224x224": (1, 64, 64, 224, 224, 1),
    "vgg16 conv2_2 128-128 112x112": (1, 128, 128, 112, 112, 1),
    "vgg16 conv3_2 256-256 56x56": (1, 256, 256, 56, 56, 1),
    "vgg16 conv4_2 512-512 28x28": (1, 512, 512, 28, 28, 1),
    "vgg16 conv5_1 512-512 14x14": (1, 512, 512, 14, 14, 1),
    "resnet layer1 64-64 56x56": (1, 64, 64, 56, 56, 1),
    "resnet layer4 512-512 7x7": (1, 512, 512, 7, 7, 1),
    "resnet layer4 512-512 7x7 batch 8": (8, 512, 512, 7, 7, 1),
    "odd 37-53 61x47": (1, 37, 53, 61, 47, 1),
}
TILES = (2, 4, 6)
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}

# Amplification of rounding by the transforms, relative to direct convolution (csrc/api/winograd_conv2d.h), tile 6.
AMPLIFICATION = 17


def in_format(memory_format: torch.memory_format, arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (arguments[0].contiguous(memory_format=memory_format),)


def prepare(batch: int, in_c: int, out_c: int, h: int, w: int, padding: int) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = nn.Conv2d(in_c, out_c, 3, padding=padding)
    with torch.no_grad():  # the scale that trained layers have: outputs as large as inputs
        stock.weight.normal_(0, (2 / (9 * in_c)) ** 0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    x = torch.randn(batch, in_c, h, w, generator=generator).relu_()  # activations are mostly rectified
    exact = copy.deepcopy(stock).double()
    contenders = []
    for name, memory_format in FORMATS.items():
        layer = copy.deepcopy(stock).to(memory_format=memory_format)
        contenders.append(Contender(f"torch {name}", layer, partial(in_format, memory_format), keep=True))
    ours = {}
    for name, memory_format in FORMATS.items():
        for tile in TILES:
            layer = WinogradConv2d.from_module(stock, tile=tile).eval()
            label = f"greenkernels tile={tile} {name}"
            ours[label] = Contender(label, layer, partial(in_format, memory_format))
    return Trial(
        contenders=[*contenders, *ours.values()],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=4 * EPS * (9 * in_c) ** 0.5 * AMPLIFICATION,
        ours=frozenset(ours),
        extra={"shape": [batch, in_c, out_c, h, w], "padding": padding},
    )


CASES = [
    Case(name, partial(prepare, *shape), quick=name.startswith(("tiny", "odd")))
    for name, shape in SHAPES.items()
]
NAMES = [f"torch {f}" for f in FORMATS] + [f"greenkernels tile={t} {f}" for f in FORMATS for t in TILES]


@pytest.mark.parametrize("contender", NAMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed(benchmark, case, contender):
    if benchmark.disabled and not case.quick:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    chosen = next(c for c in trial.contenders if c.name == contender)
    arguments = chosen.prepare(trial.arguments)
    benchmark.group = case.name
    with torch.inference_mode():
        output = benchmark(chosen.call, *arguments)
        expected = trial.reference(*trial.arguments)
    assert float((output - expected).norm() / expected.norm()) <= trial.tolerance
