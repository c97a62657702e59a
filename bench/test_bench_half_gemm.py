"""half_gemm on layers of language models, float in and float out, against float32 and torch's own 16 bits.

Every contender multiplies by a weight that bfloat16 holds exactly; packing is done before. torch's bfloat16 layer gets
and gives bfloat16, as it has to, so its errors are larger. `greenkernels bench half_gemm --cache cold` is what it is
made for: weights that come from memory. pytest runs each contender by itself (`pytest bench --benchmark-enable`), or,
without that, the small cases once.
"""

from functools import partial
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.measure.work import Work
from greenkernels.nn import HalfLinear, StrassenLinear
from greenkernels.ops.half_packing import FORMATS

BFLOAT16_ERROR = 2.0**-7  # of a row and an output rounded to bfloat16, 2^-9 each, and of sums in other orders
ERROR = 1e-5  # of a float32 sum over at most 11008 products, whose roundings are random: sqrt(11008) * 2^-24


class Shape(NamedTuple):
    m: int
    n: int
    k: int


SHAPES = {
    "tiny 3x33x70": Shape(3, 33, 70),
    "odd 19x130x515": Shape(19, 130, 515),
    "llama 1x4096x4096": Shape(1, 4096, 4096),
    "llama 1x11008x4096": Shape(1, 11008, 4096),
    "llama 8x4096x4096": Shape(8, 4096, 4096),
    "llama 32x4096x4096": Shape(32, 4096, 4096),
    "llama 128x4096x4096": Shape(128, 4096, 4096),
}
TORCH, TORCH_HALF = "torch float32", "torch bfloat16"
SGEMM = "greenkernels StrassenLinear"
OURS = {f"greenkernels HalfLinear {storage}": storage for storage in FORMATS}


class InBFloat16(nn.Module):
    """torch's layer in bfloat16, for float32 in and out."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.bfloat16()), nn.Parameter(bias.bfloat16())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.bfloat16(), self.weight, self.bias).float()


def made(name: str, stock: nn.Linear) -> nn.Module:
    if name == TORCH_HALF:
        return InBFloat16(stock.weight.detach(), stock.bias.detach()).eval()
    if name == SGEMM:
        return StrassenLinear.from_module(stock, levels=0)
    return HalfLinear.from_module(stock, storage=OURS[name])


def contender(name: str, stock: nn.Linear, work: Work) -> Contender:
    tolerance = BFLOAT16_ERROR if name == TORCH_HALF else ERROR
    again = partial(contender, name, stock, work)
    return Contender(name, made(name, stock), work=work, tolerance=tolerance, fresh=again)


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    m, n, k = shape
    stock = nn.Linear(k, n).eval()
    with torch.no_grad():
        stock.weight.copy_((torch.randn(n, k, generator=generator) * k**-0.5).bfloat16())
        stock.bias.copy_((0.1 * torch.randn(n, generator=generator)).bfloat16())
    weight, bias = stock.weight.detach().double(), stock.bias.detach().double()
    operations, maps = 2.0 * m * n * k, 4.0 * m * (n + k)
    half, dense = (Work(operations, operations, maps + size * n * k) for size in (2.0, 4.0))
    return Trial(
        contenders=[
            Contender(TORCH, stock, keep=True, version=torch.__version__, work=dense),
            contender(TORCH_HALF, stock, half),
            contender(SGEMM, stock, dense),
            *(contender(name, stock, half) for name in OURS),
        ],
        arguments=(torch.randn(m, k, generator=generator),),
        reference=lambda x: F.linear(x.double(), weight, bias),
        tolerance=ERROR,
        ours=frozenset((SGEMM, *OURS)),
        extra={"shape": list(shape)},
        work=half,
    )


CASES = [
    Case(name, partial(prepare, shape), quick=name.startswith(("tiny", "odd")))
    for name, shape in SHAPES.items()
]


@pytest.mark.parametrize("contender_name", [TORCH, TORCH_HALF, SGEMM, *OURS])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed(benchmark, case, contender_name):
    if benchmark.disabled and not case.quick:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    chosen = next(c for c in trial.contenders if c.name == contender_name)
    benchmark.group = case.name
    with torch.inference_mode():
        output = benchmark(chosen.call, *trial.arguments)
        expected = trial.reference(*trial.arguments)
    tolerance = chosen.tolerance or trial.tolerance
    assert float((output - expected).norm() / expected.norm()) <= tolerance
