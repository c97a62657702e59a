"""direct_conv2d against torch, on layers of real networks that Winograd's method is not for.

`greenkernels bench direct_conv2d` runs the cases in turns and writes rows, which is what gets published; pytest runs
each contender by itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

import copy
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.nn import DirectConv2d

EPS = torch.finfo(torch.float32).eps


class Shape(NamedTuple):
    batch: int
    in_c: int
    out_c: int
    h: int
    w: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1


SHAPES = {
    "tiny 3x3 1x3x5x7": Shape(1, 3, 5, 5, 7, 3),
    "tiny 5x5 groups 2 2x18x14x13": Shape(2, 18, 34, 14, 13, 5, 2, 1, 2),
    "resnet 3x3 stride 2 64-128 56x56": Shape(1, 64, 128, 56, 56, 3, 2),
    "resnet 3x3 stride 2 128-256 28x28": Shape(1, 128, 256, 28, 28, 3, 2),
    "resnet 3x3 stride 2 256-512 14x14": Shape(1, 256, 512, 14, 14, 3, 2),
    "resnet 1x1 64-256 56x56": Shape(1, 64, 256, 56, 56, 1),
    "resnet 1x1 256-64 56x56": Shape(1, 256, 64, 56, 56, 1),
    "resnet 1x1 512-128 28x28": Shape(1, 512, 128, 28, 28, 1),
    "resnet 1x1 2048-512 7x7": Shape(1, 2048, 512, 7, 7, 1),
    "resnet 1x1 stride 2 256-512 56x56": Shape(1, 256, 512, 56, 56, 1, 2),
    "resnet 1x1 stride 2 1024-2048 14x14": Shape(1, 1024, 2048, 14, 14, 1, 2),
    "resnet 7x7 stride 2 3-64 224x224": Shape(1, 3, 64, 224, 224, 7, 2),
    "dilation 2 3x3 256-256 28x28": Shape(1, 256, 256, 28, 28, 3, 1, 2),
    "dilation 2 3x3 512-512 28x28": Shape(1, 512, 512, 28, 28, 3, 1, 2),
    "unet 3x3 stride 2 32-64 256x256": Shape(1, 32, 64, 256, 256, 3, 2),
    "5x5 64-64 56x56": Shape(1, 64, 64, 56, 56, 5),
    "7x7 64-64 56x56": Shape(1, 64, 64, 56, 56, 7),
    "vgg 3x3 3-64 224x224": Shape(1, 3, 64, 224, 224, 3),
    "gray 3x3 1-64 224x224": Shape(1, 1, 64, 224, 224, 3),
    "image output 3x3 64-3 224x224": Shape(1, 64, 3, 224, 224, 3),
    "demosaicnet conv1 3x3 4-64 150x226": Shape(1, 4, 64, 150, 226, 3),
    "demosaicnet post_conv 3x3 6-64 300x452": Shape(1, 6, 64, 300, 452, 3),
    "demosaicnet output 1x1 64-3 300x452": Shape(1, 64, 3, 300, 452, 1),
    "resnet 3x3 512-512 7x7": Shape(1, 512, 512, 7, 7, 3),
    "odd 3x3 stride 2 37-53 61x47": Shape(1, 37, 53, 61, 47, 3, 2),
}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
NAMES = [f"{who} {form}" for who in ("torch", "greenkernels") for form in FORMATS]


def in_format(memory_format: torch.memory_format, arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (arguments[0].contiguous(memory_format=memory_format),)


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    padding = shape.dilation * (shape.kernel // 2)
    stock = nn.Conv2d(
        shape.in_c, shape.out_c, shape.kernel, shape.stride, padding, shape.dilation, shape.groups
    )
    depth = stock.weight[0].numel()
    with torch.no_grad():  # the scale that trained layers have: outputs as large as inputs
        stock.weight.normal_(0, (2 / depth) ** 0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    # Activations are mostly rectified.
    x = torch.randn(shape.batch, shape.in_c, shape.h, shape.w, generator=generator).relu_()
    exact = copy.deepcopy(stock).double()
    ours = DirectConv2d.from_module(stock).eval()
    contenders = []
    for name, memory_format in FORMATS.items():
        layer = copy.deepcopy(stock).to(memory_format=memory_format)
        contenders.append(Contender(f"torch {name}", layer, partial(in_format, memory_format), keep=True))
    for name, memory_format in FORMATS.items():
        contenders.append(Contender(f"greenkernels {name}", ours, partial(in_format, memory_format)))
    return Trial(
        contenders=contenders,
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=4 * EPS * depth**0.5,
        ours=frozenset(name for name in NAMES if name.startswith("greenkernels")),
        extra={"shape": list(shape), "padding": padding},
    )


CASES = [
    Case(name, partial(prepare, shape), quick=name.startswith(("tiny", "odd")))
    for name, shape in SHAPES.items()
]


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
