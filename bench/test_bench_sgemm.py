"""sgemm against torch: squares, the shapes of linear layers, and batches.

`greenkernels bench sgemm` runs the cases in turns and writes rows, which is what gets published; pytest runs each
contender by itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.measure.work import Work

EPS = torch.finfo(torch.float32).eps


class Shape(NamedTuple):
    m: int
    n: int
    k: int


SQUARES = {f"square {n}": Shape(n, n, n) for n in (64, 512, 1024, 2048, 4096, 8192)}
LINEARS = {
    f"linear {m} x {k} - {n}": Shape(m, n, k)
    for k, n in ((2048, 2048), (4096, 4096), (4096, 11008))
    for m in (1, 2, 8, 16, 32, 128, 512)
    if k > 2048 or m == 1
} | {"linear tiny 5 x 70 - 33": Shape(5, 33, 70)}


def work(shape: Shape) -> Work:
    flops = 2 * shape.m * shape.n * shape.k
    size = shape.m * shape.k + shape.n * shape.k + shape.m * shape.n
    return Work(direct_flops=flops, flops=flops, bytes=4 * size)


def prepare_square(shape: Shape) -> Trial:
    """Neither operand is constant."""
    from greenkernels.measure.rivals.task import MatmulTask

    generator = torch.Generator().manual_seed(0)
    a = torch.randn(shape.m, shape.k, generator=generator)
    b = torch.randn(shape.k, shape.n, generator=generator)
    return Trial(
        contenders=[Contender("torch", torch.mm), Contender("greenkernels", gk.ops.matmul)],
        arguments=(a, b),
        reference=lambda a, b: a.double() @ b.double(),
        tolerance=4 * EPS * shape.k**0.5,
        ours=frozenset(["greenkernels"]),
        extra={"shape": list(shape)},
        task=MatmulTask(a, b),
        work=work(shape),
    )


def prepare_linear(shape: Shape) -> Trial:
    """The weight is constant, and packed by those who can."""
    from greenkernels.measure.rivals.task import LinearTask

    generator = torch.Generator().manual_seed(0)
    stock = nn.Linear(shape.k, shape.n).eval()
    with torch.no_grad():
        stock.weight.normal_(0, shape.k**-0.5, generator=generator)
    x = torch.randn(shape.m, shape.k, generator=generator)
    packed = gk.ops.sgemm_pack(stock.weight.detach())
    weight, bias = stock.weight.detach().double(), stock.bias.detach()
    ours = partial(gk.ops.sgemm_packed, packed=packed, bias=bias, n=shape.n)
    return Trial(
        contenders=[Contender("torch", stock), Contender("greenkernels", ours)],
        arguments=(x,),
        reference=lambda x: x.double() @ weight.t() + bias.double(),
        tolerance=4 * EPS * shape.k**0.5,
        ours=frozenset(["greenkernels"]),
        extra={"shape": list(shape)},
        task=LinearTask(stock, x),
        work=work(shape),
    )


def prepare_batch() -> Trial:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 128, 64, generator=generator), torch.randn(64, 64, 128, generator=generator)
    return Trial(
        contenders=[Contender("torch", torch.bmm), Contender("greenkernels", gk.ops.matmul)],
        arguments=(a, b),
        reference=lambda a, b: a.double() @ b.double(),
        tolerance=4 * EPS * 64**0.5,
        ours=frozenset(["greenkernels"]),
        extra={"shape": [64, 128, 128, 64]},
    )


SHOWN = (1, 5, 8, 32, 512)  # rows that show the sweep's shape
CASES = [
    *(
        Case(name, partial(prepare_square, shape), quick=shape.n <= 64, sweep=shape.n > 2048)
        for name, shape in SQUARES.items()
    ),
    *(
        Case(name, partial(prepare_linear, shape), quick="tiny" in name, sweep=shape.m not in SHOWN)
        for name, shape in LINEARS.items()
    ),
    Case("batch 64 x 128 x 64 x 128", prepare_batch, quick=True),
]


@pytest.mark.parametrize("contender", ["torch", "greenkernels"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed(benchmark, case, contender):
    if benchmark.disabled and not case.quick:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    chosen = next(c for c in trial.contenders if c.name == contender)
    benchmark.group = case.name
    arguments = chosen.prepare(trial.arguments) if chosen.prepare else trial.arguments
    with torch.inference_mode():
        output = benchmark(chosen.call, *arguments)
        expected = trial.reference(*trial.arguments)
    assert float((output - expected).norm() / expected.norm()) <= trial.tolerance
