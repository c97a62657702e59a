"""separable_conv2d against torch, on blocks of MobileNet-V1 and V2, batch norms folded for all.

`greenkernels bench separable_conv2d` runs the cases in turns and writes rows, which is what gets published; pytest runs
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
from greenkernels.nn import DepthwiseConv2d, DirectConv2d, SeparableConv2d

EPS = torch.finfo(torch.float32).eps


class Shape(NamedTuple):
    in_c: int
    hidden: int
    out_c: int
    size: int
    stride: int = 1
    expand: bool = True


SHAPES = {
    "tiny 5-20-5 9x9": Shape(5, 20, 5, 9),
    "mobilenetv1 32-64@112": Shape(32, 32, 64, 112, 1, False),
    "mobilenetv1 128-128@56": Shape(128, 128, 128, 56, 1, False),
    "mobilenetv1 256-512@28 stride 2": Shape(256, 256, 512, 28, 2, False),
    "mobilenetv1 512-512@14": Shape(512, 512, 512, 14, 1, False),
    "mobilenetv1 1024-1024@7": Shape(1024, 1024, 1024, 7, 1, False),
    "mobilenetv2 16-96-24@112 stride 2": Shape(16, 96, 24, 112, 2),
    "mobilenetv2 24-144-24@56": Shape(24, 144, 24, 56),
    "mobilenetv2 32-192-32@28": Shape(32, 192, 32, 28),
    "mobilenetv2 64-384-64@14": Shape(64, 384, 64, 14),
    "mobilenetv2 96-576-160@14 stride 2": Shape(96, 576, 160, 14, 2),
    "mobilenetv2 160-960-160@7": Shape(160, 960, 160, 7),
}
NAMES = ("torch NCHW", "torch channels_last", "greenkernels layers", "greenkernels fused")


class Residual(nn.Module):
    """``layers(x) + x``, or the layers alone."""

    def __init__(self, layers: nn.Module, residual: bool) -> None:
        super().__init__()
        self.layers, self.residual = layers, residual

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.residual else self.layers(x)


def in_format(memory_format: torch.memory_format, arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (arguments[0].contiguous(memory_format=memory_format),)


def stock_layers(shape: Shape, generator: torch.Generator) -> nn.Sequential:
    """Layers with the scale that trained ones have: outputs as large as inputs."""
    hidden = shape.hidden
    layers: list[nn.Module] = []
    if shape.expand:
        layers += [nn.Conv2d(shape.in_c, hidden, 1), nn.ReLU6()]
    layers += [nn.Conv2d(hidden, hidden, 3, shape.stride, 1, groups=hidden), nn.ReLU6()]
    layers += [nn.Conv2d(hidden, shape.out_c, 1)]
    layers += [] if shape.expand else [nn.ReLU6()]
    with torch.no_grad():
        for layer in layers[::2]:
            layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
    return nn.Sequential(*layers).eval()


def layer_by_layer(layers: nn.Sequential) -> nn.Sequential:
    block = SeparableConv2d.from_modules(*layers)
    convs: list[DirectConv2d | DepthwiseConv2d] = block._convs()
    return nn.Sequential(*convs)


def contender(layers: nn.Sequential, residual: bool, name: str) -> Contender:
    """One of ``NAMES``."""
    memory_format = torch.contiguous_format if name.endswith("NCHW") else torch.channels_last
    if name.startswith("torch"):
        call = Residual(copy.deepcopy(layers), residual).to(memory_format=memory_format)
    elif name.endswith("fused"):
        call = SeparableConv2d.from_modules(*layers, residual=residual)
    else:
        call = Residual(layer_by_layer(layers), residual)
    fresh = partial(contender, layers, residual, name)
    return Contender(name, call.eval(), partial(in_format, memory_format), fresh=fresh)


def network_task(layers: nn.Sequential, residual: bool, x: Tensor) -> object:
    """What other software needs to build the block; imported when it is asked for."""
    from greenkernels.measure.rivals.task import NetworkTask

    return NetworkTask(Residual(layers, residual).eval(), (x,))


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    layers = stock_layers(shape, generator)
    residual = shape.expand and shape.stride == 1 and shape.in_c == shape.out_c
    x = torch.randn(1, shape.in_c, shape.size, shape.size, generator=generator)
    exact = Residual(copy.deepcopy(layers).double(), residual)
    return Trial(
        contenders=[contender(layers, residual, name) for name in NAMES],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=4 * EPS * (shape.hidden + shape.in_c + 9) ** 0.5,
        ours=frozenset(name for name in NAMES if name.startswith("greenkernels")),
        extra={"shape": list(shape)},
        task=partial(network_task, layers, residual, x),
    )


CASES = [Case(name, partial(prepare, shape), quick=name.startswith("tiny")) for name, shape in SHAPES.items()]


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
