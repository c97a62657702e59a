"""winograd_conv2d on bfloat16 and float16 maps against torch in the same type and in float32.

`greenkernels bench winograd_conv2d_half` runs the cases in turns and writes rows, which is what gets published; pytest
runs each contender by itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
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

# name: (in_c, out_c, size)
LAYERS = {
    "tiny 17-33 13x13": (17, 33, 13),
    "vgg16 conv1_2 64-64 224x224": (64, 64, 224),
    "vgg16 conv2_1 64-128 112x112": (64, 128, 112),
    "vgg16 conv2_2 128-128 112x112": (128, 128, 112),
    "vgg16 conv3_2 256-256 56x56": (256, 256, 56),
    "vgg16 conv4_2 512-512 28x28": (512, 512, 28),
    "vgg16 conv5_1 512-512 14x14": (512, 512, 14),
    "resnet layer1 64-64 56x56": (64, 64, 56),
    "resnet layer2 128-128 28x28": (128, 128, 28),
    "resnet layer3 256-256 14x14": (256, 256, 14),
    "resnet layer4 512-512 7x7": (512, 512, 7),
}
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
TILES = (2, 4)


def converted(
    dtype: torch.dtype, memory_format: torch.memory_format, arguments: tuple[Tensor]
) -> tuple[Tensor]:
    return (arguments[0].to(dtype=dtype, memory_format=memory_format),)


def stock_layer(in_c: int, out_c: int, generator: torch.Generator) -> nn.Conv2d:
    """A layer with the scale that trained ones have: outputs as large as inputs."""
    stock = nn.Conv2d(in_c, out_c, 3, padding=1).eval()
    with torch.no_grad():
        stock.weight.normal_(0, (2 / (9 * in_c)) ** 0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    return stock


def work_of(stock: nn.Conv2d, x: Tensor, element: int, tile: int | None = None) -> Work:
    """Counts of one call, direct (None) or in tiles, of which only the products are counted, not the transforms."""
    (batch, in_c, h, w), out_c = x.shape, stock.out_channels
    direct = 2.0 * batch * in_c * out_c * h * w * 9
    maps = float(element) * batch * (in_c + out_c) * h * w
    if tile is None:
        return Work(direct, direct, maps + float(element) * 9 * in_c * out_c)
    products = 2.0 * in_c * out_c * batch * -(-h // tile) * -(-w // tile) * (tile + 2) ** 2
    return Work(direct, products, maps + 4.0 * packed_size(out_c, in_c, tile))


def torch_contender(stock: nn.Conv2d, x: Tensor, dtype: torch.dtype, name: str) -> Contender:
    return Contender(
        f"torch {str(dtype).removeprefix('torch.')} {name}",
        copy.deepcopy(stock).to(dtype=dtype, memory_format=FORMATS[name]),
        partial(converted, dtype, FORMATS[name]),
        keep=dtype is not torch.float32,
        version=torch.__version__,
        work=work_of(stock, x, dtype.itemsize),
        fresh=partial(torch_contender, stock, x, dtype, name),
    )


def our_contender(stock: nn.Conv2d, x: Tensor, dtype: torch.dtype, name: str, tile: int) -> Contender:
    return Contender(
        f"greenkernels tile={tile} {name}",
        WinogradConv2d.from_module(copy.deepcopy(stock).to(dtype), tile=tile).eval(),
        partial(converted, dtype, FORMATS[name]),
        work=work_of(stock, x, dtype.itemsize, tile),
        fresh=partial(our_contender, stock, x, dtype, name, tile),
    )


def prepare(in_c: int, out_c: int, size: int, dtype: torch.dtype) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = stock_layer(in_c, out_c, generator).to(dtype).float()  # the same numbers for every type
    x = (
        torch.randn(1, in_c, size, size, generator=generator).relu_().to(dtype)
    )  # activations are mostly rectified
    exact = copy.deepcopy(stock).double()
    ours = [our_contender(stock, x, dtype, name, tile) for name in FORMATS for tile in TILES]
    rivals = [torch_contender(stock, x, t, name) for t in (dtype, torch.float32) for name in FORMATS]
    return Trial(
        contenders=[*rivals, *ours],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=torch.finfo(dtype).eps
        / 2,  # the largest error of one rounding; torch's partial sums are float32
        ours=frozenset(contender.name for contender in ours),
        extra={"shape": [1, in_c, out_c, size, size], "dtype": str(dtype).removeprefix("torch.")},
    )


CASES = [
    Case(
        f"{layer} {name}",
        partial(prepare, *sizes, dtype),
        quick=layer.startswith("tiny"),
        sweep=dtype is torch.float16 and not layer.startswith(("tiny", "vgg16 conv3", "resnet layer2")),
    )
    for name, dtype in TYPES.items()
    for layer, sizes in LAYERS.items()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("contender", range(2 * len(FORMATS) + len(FORMATS) * len(TILES)))
def test_speed(benchmark, case, contender):
    if benchmark.disabled and not case.quick:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    chosen = trial.contenders[contender]
    arguments = chosen.prepare(trial.arguments)
    benchmark.group = case.name
    with torch.inference_mode():
        output = benchmark(chosen.call, *arguments)
        expected = trial.reference(*trial.arguments)
    assert float((output - expected).norm() / expected.norm()) <= trial.tolerance
