"""codebook_gemm on layers of language models, float in and float out, against int4_gemm and float32.

Every contender multiplies by the weight of a table of 16 integers at equal distances, which int4_gemm and float32 hold
too, or by one of 4 entries, so that errors are those of the input's rounding; packing is done before.
`greenkernels bench codebook_gemm --cache cold` is what it is made for: weights that come from memory. pytest runs each
contender by itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

import copy
from functools import partial
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.measure.work import Work
from greenkernels.nn import CodebookLinear, Int4Linear
from greenkernels.ops import codebook_packing, int4_packing

GROUP = 64
ERROR = 1e-2  # relative, of 8 bits of normally distributed rows


class Shape(NamedTuple):
    m: int
    n: int
    k: int


SHAPES = {
    "tiny 3x33x70": Shape(3, 33, 70),
    "odd 7x130x515": Shape(7, 130, 515),
    "llama 1x4096x4096": Shape(1, 4096, 4096),
    "llama 1x11008x4096": Shape(1, 11008, 4096),
    "llama 8x4096x4096": Shape(8, 4096, 4096),
}
FLOAT, INT4 = "torch float32", "greenkernels Int4Linear"
OURS, OURS_2 = "greenkernels CodebookLinear", "greenkernels CodebookLinear, 2 bits"


class Weight(NamedTuple):
    """A weight of integers in [-2, 1], which 2 bits name, 4 bits name and 4-bit integers are; and its scales."""

    values: Tensor
    scale: Tensor
    bias: Tensor


def weight_of(shape: Shape) -> Weight:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-2, 2, (shape.n, shape.k), generator=generator).to(torch.int8)
    groups = codebook_packing.group_count(shape.k, GROUP)
    scale = (torch.rand(shape.n, groups, generator=generator) + 0.5).mul_(shape.k**-0.5).bfloat16().float()
    return Weight(values, scale, torch.randn(shape.n, generator=generator) / 10)


def float_contender(stock: nn.Linear, work: Work) -> Contender:
    version, again = torch.__version__, partial(float_contender, stock, work)
    return Contender(FLOAT, copy.deepcopy(stock), keep=True, version=version, work=work, fresh=again)


def codebook_contender(weight: Weight, bits: int, work: Work) -> Contender:
    least = -(1 << bits - 1)
    table = torch.arange(least, -least, dtype=torch.int8)
    places = (weight.values - least).to(torch.uint8)
    module = CodebookLinear.from_codebook(places, table, weight.scale, weight.bias, group=GROUP)
    again = partial(codebook_contender, weight, bits, work)
    return Contender(OURS if bits == 4 else OURS_2, module, work=work, fresh=again)


def int4_contender(weight: Weight, work: Work) -> Contender:
    module = Int4Linear.from_int4(*weight, group=GROUP)
    return Contender(INT4, module, work=work, fresh=partial(int4_contender, weight, work))


def prepare(shape: Shape) -> Trial:
    m, n, k = shape
    weight, stock = weight_of(shape), nn.Linear(k, n).eval()
    with torch.no_grad():
        stock.weight.copy_(weight.values * weight.scale.repeat_interleave(GROUP, 1)[:, :k])
        stock.bias.copy_(weight.bias)
    dense, bias = stock.weight.detach().double(), weight.bias.double()
    operations, maps = 2.0 * m * n * k, 4.0 * m * (n + k)

    def work(weight_bytes: float) -> Work:
        return Work(operations, operations, maps + weight_bytes)

    return Trial(
        contenders=[
            float_contender(stock, work(4.0 * n * k)),
            int4_contender(weight, work(int4_packing.packed_bytes(n, k, GROUP))),
            *(
                codebook_contender(weight, bits, work(codebook_packing.packed_bytes(n, k, GROUP, bits)))
                for bits in (4, 2)
            ),
        ],
        arguments=(torch.randn(m, k, generator=torch.Generator().manual_seed(1)),),
        reference=lambda x: F.linear(x.double(), dense, bias),
        tolerance=ERROR,
        ours=frozenset((OURS, OURS_2, INT4)),
        extra={"shape": list(shape), "group": GROUP},
        work=work(codebook_packing.packed_bytes(n, k, GROUP, 4)),
    )


CASES = [
    Case(name, partial(prepare, shape), quick=name.startswith(("tiny", "odd")))
    for name, shape in SHAPES.items()
]


@pytest.mark.parametrize("contender", [FLOAT, INT4, OURS, OURS_2])
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
