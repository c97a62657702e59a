"""int8_winograd_conv2d (Int8Conv2d with tile=2) against the direct 8-bit kernel and Winograd's in float32.

Float in and float out; filters are transformed, quantized and packed before. Other software takes part in
`greenkernels bench int8_conv2d`, where tile=2 is a contender too. `greenkernels bench int8_winograd_conv2d` runs the
cases in turns and writes rows; pytest runs each contender by itself, or, without --benchmark-enable, the small cases
once.
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
from greenkernels.nn import Int8Conv2d, WinogradConv2d

INT8_ERROR = 3e-2  # steps of 1/255 of each tap's range and of 1/127 of each filter tap's, see the tests


class Shape(NamedTuple):
    batch: int
    in_c: int
    out_c: int
    h: int
    w: int


SHAPES = {
    "tiny 1x5-3 7x5": Shape(1, 5, 3, 7, 5),
    "odd 2x37-53 11x13": Shape(2, 37, 53, 11, 13),
    "vgg 64-64 224x224": Shape(1, 64, 64, 224, 224),
    "vgg 64-128 112x112": Shape(1, 64, 128, 112, 112),
    "vgg 128-128 112x112": Shape(1, 128, 128, 112, 112),
    "vgg 256-256 56x56": Shape(1, 256, 256, 56, 56),
    "vgg 512-512 28x28": Shape(1, 512, 512, 28, 28),
    "vgg 512-512 14x14": Shape(1, 512, 512, 14, 14),
    "resnet 64-64 56x56": Shape(1, 64, 64, 56, 56),
    "resnet 128-128 28x28": Shape(1, 128, 128, 28, 28),
    "resnet 256-256 14x14": Shape(1, 256, 256, 14, 14),
    "resnet 512-512 7x7": Shape(1, 512, 512, 7, 7),
}
TORCH, DIRECT, FLOAT, TILE = (
    "torch channels_last",
    "greenkernels static",
    "greenkernels float32",
    "greenkernels tile 2",
)
NAMES = [TORCH, DIRECT, FLOAT, TILE]


def channels_last(arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (arguments[0].contiguous(memory_format=torch.channels_last),)


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = nn.Conv2d(shape.in_c, shape.out_c, 3, padding=1).eval()
    with torch.no_grad():  # the scale that trained layers have: outputs as large as inputs
        stock.weight.normal_(0, (2 / stock.weight[0].numel()) ** 0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    x = torch.randn(shape.batch, shape.in_c, shape.h, shape.w, generator=generator).relu_()
    exact = copy.deepcopy(stock).double()
    outputs = shape.batch * shape.out_c * shape.h * shape.w
    operations = 2.0 * outputs * stock.weight[0].numel()
    work = Work(operations, operations, 4.0 * (x.numel() + outputs) + 16 * shape.in_c * shape.out_c)
    networks = {
        TORCH: copy.deepcopy(stock).to(memory_format=torch.channels_last),
        DIRECT: Int8Conv2d.from_module(stock, input_range=(0.0, float(x.max()))),
        FLOAT: WinogradConv2d.from_module(stock, tile=4),
        TILE: Int8Conv2d.from_module(stock, tile=2),
    }
    return Trial(
        contenders=[
            Contender(name, network, channels_last, keep=name == TORCH, work=work)
            for name, network in networks.items()
        ],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=INT8_ERROR,
        ours=frozenset((DIRECT, FLOAT, TILE)),
        extra={"shape": list(shape)},
        work=work,
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
