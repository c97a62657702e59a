"""strassen_conv2d against torch: the 1x1 convolutions of ResNet-50 and MobileNet-V2, with bias and activation.

`greenkernels bench strassen_conv2d` runs the cases in turns and writes rows, which is what gets published; pytest runs
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
from greenkernels.measure.work import Work
from greenkernels.nn import StrassenConv2d

EPS = torch.finfo(torch.float32).eps


class Shape(NamedTuple):
    in_c: int
    out_c: int
    size: int
    activation: str = "relu"
    batch: int = 1


RESNET = (
    *((64, 64, 56), (64, 256, 56), (256, 64, 56), (256, 128, 56), (128, 512, 28), (512, 128, 28)),
    *((512, 256, 28), (256, 1024, 14), (1024, 256, 14), (1024, 512, 14), (512, 2048, 7), (2048, 512, 7)),
)
MOBILENET = (
    *((32, 16, 112), (16, 96, 112), (24, 144, 56), (144, 24, 56), (144, 32, 28), (32, 192, 28)),
    *((192, 32, 28), (64, 384, 14), (384, 64, 14), (96, 576, 14), (576, 96, 14), (160, 960, 7)),
    *((960, 160, 7), (320, 1280, 7)),
)
SHAPES = {
    "tiny 5 - 33@7": Shape(5, 33, 7, "relu", 2),
    **{f"resnet50 {i} - {o}@{n}": Shape(i, o, n) for i, o, n in RESNET},
    **{f"mobilenetv2 {i} - {o}@{n}": Shape(i, o, n, "relu6") for i, o, n in MOBILENET},
}
ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
NAMES = [f"{who} {form}" for who in ("torch", "greenkernels") for form in FORMATS]


def in_format(memory_format: torch.memory_format, arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (arguments[0].contiguous(memory_format=memory_format),)


def contender(stock: nn.Conv2d, shape: Shape, name: str) -> Contender:
    """One of ``NAMES``."""
    who, _, form = name.partition(" ")
    layer = copy.deepcopy(stock)
    if who == "torch":
        call = nn.Sequential(layer, ACTIVATIONS[shape.activation]()).to(memory_format=FORMATS[form])
    else:
        call = StrassenConv2d.from_module(layer, activation=shape.activation).eval()
    pixels = shape.batch * shape.size**2
    flops = 2.0 * pixels * shape.in_c * shape.out_c
    moved = 4.0 * (pixels * (shape.in_c + shape.out_c) + stock.weight.numel())
    return Contender(
        name,
        call,
        partial(in_format, FORMATS[form]),
        keep=who == "torch",
        version=torch.__version__ if who == "torch" else None,
        work=Work(flops, flops, moved),
        fresh=partial(contender, stock, shape, name),
    )


def conv_task(stock: nn.Conv2d, activation: str, x: Tensor) -> object:
    """What other software needs to build the layer; imported when it is asked for."""
    from greenkernels.measure.rivals.task import ConvTask

    return ConvTask(stock, activation, x)


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = nn.Conv2d(shape.in_c, shape.out_c, 1).eval()
    with torch.no_grad():
        stock.weight.normal_(0, (2 / shape.in_c) ** 0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    # Activations are mostly rectified.
    x = torch.randn(shape.batch, shape.in_c, shape.size, shape.size, generator=generator).relu_()
    exact = nn.Sequential(copy.deepcopy(stock).double(), ACTIVATIONS[shape.activation]())
    return Trial(
        contenders=[contender(stock, shape, name) for name in NAMES],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=4 * EPS * shape.in_c**0.5,
        ours=frozenset(name for name in NAMES if name.startswith("greenkernels")),
        extra={"shape": list(shape)},
        task=partial(conv_task, stock, shape.activation, x),
    )


CASES = [  # every other layer shows the sweep's shape
    Case(name, partial(prepare, shape), quick=name.startswith("tiny"), sweep=number % 2 == 1)
    for number, (name, shape) in enumerate(SHAPES.items())
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
