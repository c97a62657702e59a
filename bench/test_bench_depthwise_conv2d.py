"""depthwise_conv2d against torch, on layers of mobile networks, each with the ReLU6 that follows it there.

`greenkernels bench depthwise_conv2d` runs the cases in turns and writes rows, which is what gets published; pytest runs
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
from greenkernels.nn import DepthwiseConv2d

EPS = torch.finfo(torch.float32).eps


class Shape(NamedTuple):
    channels: int
    size: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    batch: int = 1


V1 = ((32, 112, 1), (64, 112, 2), (128, 56, 1), (128, 56, 2), (256, 28, 1), (256, 28, 2))
V1_LATE = ((512, 14, 1), (512, 14, 2), (1024, 7, 1))
V2 = ((96, 112, 2), (144, 56, 1), (144, 56, 2), (192, 28, 1), (192, 28, 2))
V2_LATE = ((384, 14, 1), (576, 14, 1), (576, 14, 2), (960, 7, 1))
SHAPES = {
    "tiny 3x3 5 7x7": Shape(5, 7),
    "tiny 5x5 stride 2 33 13x13": Shape(33, 13, 5, 2, 1, 2),
    **{f"mobilenetv1 {c}@{n} stride {s}": Shape(c, n, 3, s) for c, n, s in (*V1, *V1_LATE)},
    **{f"mobilenetv2 {c}@{n} stride {s}": Shape(c, n, 3, s) for c, n, s in (*V2, *V2_LATE)},
    "efficientnet 5x5 stride 2 144@56": Shape(144, 56, 5, 2),
    "efficientnet 5x5 240@28": Shape(240, 28, 5),
    "efficientnet 5x5 672@14": Shape(672, 14, 5),
    "convnext 7x7 96@56": Shape(96, 56, 7),
    "convnext 7x7 384@14": Shape(384, 14, 7),
    "dilation 2 3x3 384@28": Shape(384, 28, 3, 1, 2),
    "odd 3x3 stride 2 37@61": Shape(37, 61, 3, 2),
}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
NAMES = [f"{who} {form}" for who in ("torch", "greenkernels") for form in FORMATS]


def in_format(memory_format: torch.memory_format, arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (arguments[0].contiguous(memory_format=memory_format),)


def stock_layer(shape: Shape, generator: torch.Generator) -> nn.Conv2d:
    """A layer with the scale that trained ones have: outputs as large as inputs."""
    padding = shape.dilation * (shape.kernel // 2)
    c = shape.channels
    stock = nn.Conv2d(c, c, shape.kernel, shape.stride, padding, shape.dilation, c).eval()
    with torch.no_grad():
        stock.weight.normal_(0, 2**0.5 / shape.kernel, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    return stock


def work_of(stock: nn.Conv2d, x: Tensor) -> Work:
    with torch.no_grad():
        outputs = stock(x).numel()
    flops = 2.0 * outputs * stock.weight[0].numel()
    return Work(flops, flops, 4.0 * (x.numel() + outputs + stock.weight.numel()))


def contender(stock: nn.Conv2d, x: Tensor, name: str) -> Contender:
    """One of ``NAMES``."""
    who, _, form = name.partition(" ")
    layer = copy.deepcopy(stock)
    if who == "torch":
        call = nn.Sequential(layer, nn.ReLU6()).to(memory_format=FORMATS[form])
    else:
        call = DepthwiseConv2d.from_module(layer, activation="relu6").eval()
    return Contender(
        name,
        call,
        partial(in_format, FORMATS[form]),
        keep=who == "torch",
        version=torch.__version__ if who == "torch" else None,
        work=work_of(stock, x),
        fresh=partial(contender, stock, x, name),
    )


def conv_task(stock: nn.Conv2d, x: Tensor) -> object:
    """What other software needs to build the layer; imported when it is asked for."""
    from greenkernels.measure.rivals.task import ConvTask

    return ConvTask(stock, "relu6", x)


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = stock_layer(shape, generator)
    # Activations are mostly rectified.
    x = torch.randn(shape.batch, shape.channels, shape.size, shape.size, generator=generator).relu_()
    exact = nn.Sequential(copy.deepcopy(stock).double(), nn.ReLU6())
    return Trial(
        contenders=[contender(stock, x, name) for name in NAMES],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=4 * EPS * shape.kernel,
        ours=frozenset(name for name in NAMES if name.startswith("greenkernels")),
        extra={"shape": list(shape)},
        task=partial(conv_task, stock, x),
    )


CASES = [
    Case(
        name,
        partial(prepare, shape),
        quick=name.startswith(("tiny", "odd")),
        sweep=name.startswith("mobilenetv1"),  # those of mobilenetv2 are of the same kinds
    )
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
