"""csr_conv2d against torch's dense convolution and our own, on layers of ResNet with pruned filters.

`greenkernels bench csr_conv2d` runs the cases in turns and writes rows, for 1x1 filters beside torch's sparse product,
with `--peers` beside other software, of which deepsparse leaves zeros out; pytest runs each contender by itself
(`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

import copy
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from greenkernels.measure.rivals.task import ConvTask
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.nn import DirectConv2d, SparseConv2d, WinogradConv2d

EPS = torch.finfo(torch.float32).eps
OURS = ("sparse", "direct", "winograd")


class Shape(NamedTuple):
    in_c: int
    out_c: int
    size: int
    kernel: int
    stride: int
    zeros: float


LAYERS = {
    "1x1 256-64 56x56": (256, 64, 56, 1, 1),
    "1x1 64-256 56x56": (64, 256, 56, 1, 1),
    "1x1 512-128 28x28": (512, 128, 28, 1, 1),
    "1x1 128-512 28x28": (128, 512, 28, 1, 1),
    "3x3 64-64 56x56": (64, 64, 56, 3, 1),
    "3x3 128-128 28x28": (128, 128, 28, 3, 1),
    "3x3 stride 2 128-256 28x28": (128, 256, 28, 3, 2),
    "5x5 64-64 28x28": (64, 64, 28, 5, 1),
}
SHAPES = {"tiny 3x3 5-7 9x9 80% zeros": Shape(5, 7, 9, 3, 1, 0.8)} | {
    f"{name} {zeros:.0%} zeros": Shape(*layer, zeros)
    for name, layer in LAYERS.items()
    for zeros in (0.7, 0.8, 0.9, 0.95, 0.98)
}


def torch_csr(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """A 1x1 convolution as the product of a weight in CSR form and one map, which lies as torch wants it."""
    return torch.mm(weight, x[0].flatten(1)).add_(bias[:, None]).reshape(1, -1, *x.shape[2:])


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = nn.Conv2d(shape.in_c, shape.out_c, shape.kernel, shape.stride, shape.kernel // 2).eval()
    depth = stock.weight[0].numel()
    with torch.no_grad():
        stock.weight.normal_(0, (depth * (1 - shape.zeros)) ** -0.5, generator=generator)
        stock.weight[torch.rand(stock.weight.shape, generator=generator) < shape.zeros] = 0
    x = torch.randn(1, shape.in_c, shape.size, shape.size, generator=generator)
    exact = copy.deepcopy(stock).double()
    contenders = [
        Contender("torch", stock, keep=True),
        Contender("sparse", SparseConv2d.from_module(stock).eval()),
        Contender("direct", DirectConv2d.from_module(stock).eval()),
    ]
    if shape.kernel == 3 and shape.stride == 1:
        contenders.append(Contender("winograd", WinogradConv2d.from_module(stock, tile=4).eval()))
    rivals = []
    if shape.kernel == 1:
        csr = stock.weight.detach().flatten(1).to_sparse_csr()
        contenders.append(Contender("torch CSR", partial(torch_csr, csr, stock.bias.detach())))
        rivals.append("torch CSR")
    return Trial(
        contenders=contenders,
        arguments=(x,),
        reference=lambda inputs: exact(inputs.double()),
        tolerance=32 * EPS * depth**0.5,  # of Winograd's transforms, docs/winograd_conv2d.md
        ours=frozenset(c.name for c in contenders if c.name in OURS),
        extra={"shape": list(shape), "zeros": shape.zeros, "sparse_rivals": rivals},
        task=ConvTask(stock, None, x),
    )


SHOWN = (0.8, 0.95)  # shares of zeros that show the sweep's shape
CASES = [
    Case(name, partial(prepare, shape), quick=name.startswith("tiny"), sweep=shape.zeros not in SHOWN)
    for name, shape in SHAPES.items()
]


@pytest.mark.parametrize("contender", ["torch", "sparse", "direct"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed(benchmark, case, contender):
    if benchmark.disabled and not case.quick:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    chosen = next(c for c in trial.contenders if c.name == contender)
    benchmark.group = case.name
    with torch.inference_mode():
        output = benchmark(chosen.call, *trial.arguments)
        expected = trial.reference(*trial.arguments)
    assert float((output - expected).norm() / expected.norm()) <= trial.tolerance
