"""int4_gemm on layers of language models, float in and float out, against int8_gemm and float32 on the same weight.

Every contender multiplies by a weight that 4 bits hold exactly, so errors are those of the input's rounding and, of
int8_gemm, of the weight's; packing is done before. `greenkernels bench int4_gemm --cache cold` is what it is made for:
weights that come from memory. pytest runs each contender by itself (`pytest bench --benchmark-enable`), or, without
that, the small cases once.
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
from greenkernels.nn import Int4Linear, Int8Linear
from greenkernels.nn.int4_weights import quantize_groups
from greenkernels.ops.int4_packing import packed_bytes

GROUP = 64
# 8 bits for normally distributed rows leave a relative error of about 1e-2, and int8_gemm rounds the weight too.
INT8_ERROR = 2e-2


class Shape(NamedTuple):
    m: int
    n: int
    k: int


SHAPES = {
    "tiny 3x33x70": Shape(3, 33, 70),
    "odd 7x130x515": Shape(7, 130, 515),
    "llama 1x4096x4096": Shape(1, 4096, 4096),
    "llama 1x11008x4096": Shape(1, 11008, 4096),
    "llama 4x4096x4096": Shape(4, 4096, 4096),
    "llama 8x4096x4096": Shape(8, 4096, 4096),
    "llama 128x4096x4096": Shape(128, 4096, 4096),
}
OURS = "greenkernels Int4Linear"
INT8 = "greenkernels Int8Linear"


def float_contender(stock: nn.Linear, work: Work) -> Contender:
    version, again = torch.__version__, partial(float_contender, stock, work)
    return Contender(
        "torch float32", copy.deepcopy(stock), keep=True, version=version, work=work, fresh=again
    )


def int8_contender(stock: nn.Linear, work: Work) -> Contender:
    module = Int8Linear.from_module(copy.deepcopy(stock))
    return Contender(
        INT8, module, work=work, tolerance=INT8_ERROR, fresh=partial(int8_contender, stock, work)
    )


def our_contender(values: Tensor, scale: Tensor, bias: Tensor, work: Work) -> Contender:
    module = Int4Linear.from_int4(values, scale, bias, group=GROUP)
    return Contender(OURS, module, work=work, fresh=partial(our_contender, values, scale, bias, work))


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    m, n, k = shape
    stock = nn.Linear(k, n).eval()
    with torch.no_grad():
        values, scale = quantize_groups(torch.randn(n, k, generator=generator) * k**-0.5, GROUP)
        stock.weight.copy_(values * scale.repeat_interleave(GROUP, 1)[:, :k])
        stock.bias.normal_(0, 0.1, generator=generator)
    weight, bias = stock.weight.detach().double(), stock.bias.detach().double()
    operations, maps = 2.0 * m * n * k, 4.0 * m * (n + k)
    work = Work(operations, operations, maps + packed_bytes(n, k, GROUP))
    dense = Work(operations, operations, maps + 4.0 * n * k)
    return Trial(
        contenders=[
            float_contender(stock, dense),
            int8_contender(stock, Work(operations, operations, maps + n * k)),
            our_contender(values, scale, stock.bias.detach(), work),
        ],
        arguments=(torch.randn(m, k, generator=generator),),
        reference=lambda x: F.linear(x.double(), weight, bias),
        tolerance=INT8_ERROR,
        ours=frozenset((OURS, INT8)),
        extra={"shape": list(shape), "group": GROUP},
        work=work,
    )


CASES = [
    Case(name, partial(prepare, shape), quick=name.startswith(("tiny", "odd")))
    for name, shape in SHAPES.items()
]


@pytest.mark.parametrize("contender", ["torch float32", INT8, OURS])
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
