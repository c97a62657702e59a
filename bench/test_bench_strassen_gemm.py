"""strassen_gemm against torch and against sgemm: squares, and a wide linear layer.

`greenkernels bench strassen_gemm` runs the cases in turns and writes rows, which is what gets published; pytest runs
each contender by itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

from functools import partial
from typing import NamedTuple

import pytest
import torch

import greenkernels as gk
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.measure.work import Work

EPS = torch.finfo(torch.float32).eps


class Shape(NamedTuple):
    m: int
    n: int
    k: int


SHAPES = {f"square {n}": Shape(n, n, n) for n in (64, 1024, 2048, 4096, 8192)} | {
    "linear 2048 x 4096 - 11008": Shape(2048, 11008, 4096)
}
LEVELS = (0, 1, 2, 3)
NAMES = ["torch", *(f"levels {levels}" for levels in LEVELS)]


def work(shape: Shape) -> Work:
    flops = 2 * shape.m * shape.n * shape.k
    size = shape.m * shape.k + shape.n * shape.k + shape.m * shape.n
    return Work(direct_flops=flops, flops=flops, bytes=4 * size)


def prepare(shape: Shape) -> Trial:
    from greenkernels.measure.rivals.task import MatmulTask

    generator = torch.Generator().manual_seed(0)
    a = torch.randn(shape.m, shape.k, generator=generator)
    b = torch.randn(shape.k, shape.n, generator=generator)
    contenders = [Contender("torch", torch.mm)]
    for levels in LEVELS:

        def call(a: torch.Tensor, b: torch.Tensor, levels: int = levels) -> torch.Tensor:
            return gk.ops.strassen_gemm(a, b.t(), levels=levels)

        contenders.append(Contender(f"levels {levels}", call))
    return Trial(
        contenders=contenders,
        arguments=(a, b),
        reference=lambda a, b: a.double() @ b.double(),
        tolerance=4 * 3 ** max(LEVELS) * EPS * shape.k**0.5,  # each level may triple the error
        ours=frozenset(NAMES[1:]),
        extra={"shape": list(shape)},
        task=MatmulTask(a, b),
        work=work(shape),
    )


CASES = [  # the larger ones take minutes
    Case(name, partial(prepare, shape), quick=shape.n <= 64, sweep=max(shape) > 2048)
    for name, shape in SHAPES.items()
]


@pytest.mark.parametrize("contender", NAMES)
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
