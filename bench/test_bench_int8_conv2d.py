"""int8_conv2d on layers of real networks, float in and float out, against float32 and torch's own int8 paths.

Quantization of the input is inside the time, for us and for the others; filters are quantized and packed before.
`greenkernels bench int8_conv2d` runs the cases in turns and writes rows, which is what gets published; pytest runs each
contender by itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

import copy
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from greenkernels.measure.rivals import Int8ConvTask
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.measure.work import Work
from greenkernels.nn import Int8Conv2d
from greenkernels.nn.int8_weights import quantize_weight

# As of int8_gemm; torch rounds the output to 8 bits too, of a range found on the same data.
INT8_ERROR = 3e-2


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
    "vgg 3x3 64-64 224x224": Shape(1, 64, 64, 224, 224, 3),
    "vgg 3x3 64-128 112x112": Shape(1, 64, 128, 112, 112, 3),
    "vgg 3x3 128-128 112x112": Shape(1, 128, 128, 112, 112, 3),
    "vgg 3x3 256-256 56x56": Shape(1, 256, 256, 56, 56, 3),
    "vgg 3x3 512-512 28x28": Shape(1, 512, 512, 28, 28, 3),
    "vgg 3x3 512-512 14x14": Shape(1, 512, 512, 14, 14, 3),
    "resnet 3x3 64-64 56x56": Shape(1, 64, 64, 56, 56, 3),
    "resnet 3x3 128-128 28x28": Shape(1, 128, 128, 28, 28, 3),
    "resnet 3x3 256-256 14x14": Shape(1, 256, 256, 14, 14, 3),
    "resnet 3x3 512-512 7x7": Shape(1, 512, 512, 7, 7, 3),
    "resnet 3x3 stride 2 128-256 28x28": Shape(1, 128, 256, 28, 28, 3, 2),
    "resnet 1x1 64-256 56x56": Shape(1, 64, 256, 56, 56, 1),
    "resnet 1x1 512-128 28x28": Shape(1, 512, 128, 28, 28, 1),
    "resnet 1x1 stride 2 256-512 56x56": Shape(1, 256, 512, 56, 56, 1, 2),
    "resnet 7x7 stride 2 3-64 224x224": Shape(1, 3, 64, 224, 224, 7, 2),
    "dilation 2 3x3 256-256 28x28": Shape(1, 256, 256, 28, 28, 3, 1, 2),
    "demosaicnet 3x3 64-64 150x226": Shape(1, 64, 64, 150, 226, 3),
    "mobilenetv2 depthwise 3x3 144 56x56": Shape(1, 144, 144, 56, 56, 3, groups=144),
    "mobilenetv2 depthwise 3x3 stride 2 96 112x112": Shape(1, 96, 96, 112, 112, 3, 2, groups=96),
    "odd 3x3 stride 2 37-53 61x47": Shape(1, 37, 53, 61, 47, 3, 2),
}
LAST = torch.channels_last
STATIC, DYNAMIC, NCHW, TILE = (
    f"greenkernels {name}" for name in ("static", "dynamic", "dynamic NCHW", "tile 2")
)
NAMES = ["torch channels_last", "torch onednn", "torch fbgemm", STATIC, DYNAMIC, NCHW, TILE]


def to_format(memory_format: torch.memory_format, arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (arguments[0].contiguous(memory_format=memory_format),)


def torch_contender(stock: nn.Conv2d, x: Tensor, engine: str) -> Contender:
    """torch's static int8 convolution between quantization and dequantization, as its converted networks run it."""
    weight, scale = quantize_weight(stock.weight.detach())
    values = torch._make_per_channel_quantized_tensor(
        weight, scale.double(), torch.zeros(len(scale), dtype=torch.long), 0
    )
    geometry = (list(stock.stride), list(stock.padding), list(stock.dilation), stock.groups)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        packed = torch.ops.quantized.conv2d_prepack(values, stock.bias.detach(), *geometry)
    finally:
        torch.backends.quantized.engine = before
    step, out = float(x.max()) / 255, stock(x).detach()
    out_step = float(out.max() - out.min()) / 255
    out_zero = round(-float(out.min()) / out_step)

    def call(x: Tensor) -> Tensor:
        q = torch.quantize_per_tensor(x, step, 0, torch.quint8)
        return torch.ops.quantized.conv2d(q, packed, out_step, out_zero).dequantize()

    return Contender(
        f"torch {engine}", call, partial(to_format, LAST), version=torch.__version__, tolerance=INT8_ERROR
    )


def our_contenders(stock: nn.Conv2d, x: Tensor, work: Work) -> list[Contender]:
    dynamic = Int8Conv2d.from_module(stock)
    static = Int8Conv2d.from_module(stock, input_range=(0.0, float(x.max())))
    plain = (stock.kernel_size, stock.stride, stock.dilation, stock.groups) == ((3, 3), (1, 1), (1, 1), 1)
    tiles = [Int8Conv2d.from_module(stock, tile=2)] if plain else []
    return [
        *(Contender(TILE, module, partial(to_format, LAST), work=work) for module in tiles),
        Contender(STATIC, static, partial(to_format, LAST), work=work),
        Contender(DYNAMIC, dynamic, partial(to_format, LAST), work=work),
        Contender(NCHW, dynamic, partial(to_format, torch.contiguous_format), work=work),
    ]


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    padding = shape.dilation * (shape.kernel // 2)
    geometry = (shape.kernel, shape.stride, padding, shape.dilation, shape.groups)
    stock = nn.Conv2d(shape.in_c, shape.out_c, *geometry).eval()
    depth = stock.weight[0].numel()
    with torch.no_grad():  # the scale that trained layers have: outputs as large as inputs
        stock.weight.normal_(0, (2 / depth) ** 0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    # Activations are mostly rectified; a batch's largest value is that of calibration.
    x = torch.randn(shape.batch, shape.in_c, shape.h, shape.w, generator=generator).relu_()
    exact = copy.deepcopy(stock).double()
    out = exact(x.double()).detach()
    outputs, ends = out.numel(), (float(out.min()), float(out.max()))
    operations = 2.0 * outputs * depth
    work = Work(operations, operations, 4.0 * (x.numel() + outputs) + stock.weight.numel())
    engines = [e for e in ("onednn", "fbgemm") if e in torch.backends.quantized.supported_engines]
    dense = copy.deepcopy(stock).to(memory_format=LAST)
    return Trial(
        contenders=[
            Contender("torch channels_last", dense, partial(to_format, LAST), keep=True),
            *(torch_contender(stock, x, engine) for engine in engines),
            *our_contenders(stock, x, work),
        ],
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=INT8_ERROR,
        ours=frozenset((STATIC, DYNAMIC, NCHW, TILE)),
        extra={"shape": list(shape), "padding": padding},
        task=Int8ConvTask(stock, x, (0.0, float(x.max())), ends),
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
    chosen = next((c for c in trial.contenders if c.name == contender), None)
    if chosen is None:
        pytest.skip(f"{contender} does not take this layer, or this torch has no such engine")
    arguments = chosen.prepare(trial.arguments)
    benchmark.group = case.name
    with torch.inference_mode():
        output = benchmark(chosen.call, *arguments)
        expected = trial.reference(*trial.arguments)
    assert float((output - expected).norm() / expected.norm()) <= trial.tolerance
