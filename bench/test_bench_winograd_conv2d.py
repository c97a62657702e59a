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
from greenkernels.measure.work import Work
from greenkernels.nn import WinogradConv2d
from greenkernels.ops.winograd_transforms import packed_size

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
    "vgg16 conv2_1 64-128 112x112": (1, 64, 128, 112, 112, 1),
    "vgg16 conv2_2 128-128 112x112": (1, 128, 128, 112, 112, 1),
    "vgg16 conv3_2 256-256 56x56": (1, 256, 256, 56, 56, 1),
    "vgg16 conv4_2 512-512 28x28": (1, 512, 512, 28, 28, 1),
    "vgg16 conv5_1 512-512 14x14": (1, 512, 512, 14, 14, 1),
    "resnet layer1 64-64 56x56": (1, 64, 64, 56, 56, 1),
    "resnet layer2 128-128 28x28": (1, 128, 128, 28, 28, 1),
    "resnet layer3 256-256 14x14": (1, 256, 256, 14, 14, 1),
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


def stock_layer(in_c: int, out_c: int, padding: int, generator: torch.Generator) -> nn.Conv2d:
    """A layer with the scale that trained ones have: outputs as large as inputs."""
    stock = nn.Conv2d(in_c, out_c, 3, padding=padding).eval()
    with torch.no_grad():
        stock.weight.normal_(0, (2 / (9 * in_c)) ** 0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    return stock


def work_of(stock: nn.Conv2d, x: Tensor, tile: int | None) -> Work:
    """Counts of one call, direct (None) or in tiles, of which only the products are counted, not the transforms."""
    batch, in_c, h, w = x.shape
    out_c, padding = stock.out_channels, stock.padding[0]
    out_h, out_w = h + 2 * padding - 2, w + 2 * padding - 2
    direct = 2.0 * batch * in_c * out_c * out_h * out_w * 9
    maps = 4.0 * batch * (in_c * h * w + out_c * out_h * out_w)
    if tile is None:
        return Work(direct, direct, maps + 4.0 * 9 * in_c * out_c)
    tiles = batch * -(-out_h // tile) * -(-out_w // tile)
    return Work(
        direct, 2.0 * in_c * out_c * tiles * (tile + 2) ** 2, maps + 4.0 * packed_size(out_c, in_c, tile)
    )


def torch_contender(stock: nn.Conv2d, x: Tensor, format_name: str) -> Contender:
    memory_format = FORMATS[format_name]
    return Contender(
        f"torch {format_name}",
        copy.deepcopy(stock).to(memory_format=memory_format),
        partial(in_format, memory_format),
        keep=True,
        version=torch.__version__,
        work=work_of(stock, x, None),
        fresh=partial(torch_contender, stock, x, format_name),
    )


def our_contender(stock: nn.Conv2d, x: Tensor, tile: int, format_name: str) -> Contender:
    return Contender(
        f"greenkernels tile={tile} {format_name}",
        WinogradConv2d.from_module(copy.deepcopy(stock), tile=tile).eval(),
        partial(in_format, FORMATS[format_name]),
        work=work_of(stock, x, tile),
        fresh=partial(our_contender, stock, x, tile, format_name),
    )


def conv_task(stock: nn.Conv2d, x: Tensor) -> object:
    """What other software needs to build the layer; imported when it is asked for."""
    from greenkernels.measure.rivals.task import ConvTask

    return ConvTask(stock, None, x)


def prepare(batch: int, in_c: int, out_c: int, h: int, w: int, padding: int) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = stock_layer(in_c, out_c, padding, generator)
    x = torch.randn(batch, in_c, h, w, generator=generator).relu_()  # activations are mostly rectified
    exact = copy.deepcopy(stock).double()
    ours = [our_contender(stock, x, tile, name) for name in FORMATS for tile in TILES]
    return Trial(
        contenders=[*(torch_contender(stock, x, name) for name in FORMATS), *ours],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=4 * EPS * (9 * in_c) ** 0.5 * AMPLIFICATION,
        ours=frozenset(contender.name for contender in ours),
        extra={"shape": [batch, in_c, out_c, h, w], "padding": padding},
        task=partial(conv_task, stock, x),
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
