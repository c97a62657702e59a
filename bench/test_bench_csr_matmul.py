"""csr_matmul against dense and sparse products, from half of the weights zeros to nearly all of them.

`greenkernels bench csr_matmul` runs the cases in turns and writes rows, which is what gets published, with `--peers`
beside the dense products of other software; pytest runs each contender by itself (`pytest bench --benchmark-enable`),
or, without that, the small cases once.
"""

from functools import partial
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenkernels.measure.rivals.task import LinearTask
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.ops import csr_matmul_pack, csr_matmul_packed, sgemm_pack, sgemm_packed

EPS = torch.finfo(torch.float32).eps
DENSE = "sgemm of greenkernels"
NAMES = ("torch", DENSE, "torch CSR", "greenkernels")


class Shape(NamedTuple):
    m: int
    n: int
    k: int
    zeros: float


SIZES = {"768-3072": (3072, 768), "2048-2048": (2048, 2048), "4096-4096": (4096, 4096)}
BATCHES = (1, 8, 16, 64, 256)
ZEROS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
SHAPES = {
    "tiny 3x33x70 80% zeros": Shape(3, 33, 70, 0.8),
    "tiny 70x129x300 90% zeros": Shape(70, 129, 300, 0.9),
} | {
    f"{size} batch {batch} {zeros:.0%} zeros": Shape(batch, n, k, zeros)
    for size, (n, k) in SIZES.items()
    for batch in BATCHES
    for zeros in ZEROS
}


def torch_csr(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """What torch offers for a weight in CSR form: it wants x transposed and gives the product transposed."""
    return torch.mm(weight, x.T).T + bias


def dense(packed: Tensor, bias: Tensor, n: int, x: Tensor) -> Tensor:
    """Our own product of a packed dense weight: what a sparse one has to beat, too."""
    return sgemm_packed(x, packed, bias, n=n)


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    stock = nn.Linear(shape.k, shape.n).eval()
    with torch.no_grad():  # the scale that trained layers have: outputs as large as inputs
        stock.weight.normal_(0, (shape.k * (1 - shape.zeros)) ** -0.5, generator=generator)
        stock.weight[torch.rand(shape.n, shape.k, generator=generator) < shape.zeros] = 0
        stock.bias.normal_(0, 0.1, generator=generator)
    x = torch.randn(shape.m, shape.k, generator=generator)
    weight, bias = stock.weight.detach(), stock.bias.detach()
    csr = weight.to_sparse_csr()
    parts = csr.crow_indices(), csr.col_indices(), csr.values()
    packed = csr_matmul_pack(*parts, shape.k, batch=shape.m)
    sizes = {"out_features": shape.n, "nnz": parts[2].numel(), "batch": shape.m}

    def ours(x: Tensor) -> Tensor:
        return csr_matmul_packed(x, packed, bias, **sizes)

    return Trial(
        contenders=[
            Contender("torch", stock, keep=True),
            Contender(DENSE, partial(dense, sgemm_pack(weight), bias, shape.n)),
            Contender("torch CSR", partial(torch_csr, csr, bias)),
            Contender("greenkernels", ours),
        ],
        arguments=(x,),
        reference=lambda inputs: F.linear(inputs.double(), weight.double(), bias.double()),
        tolerance=4 * EPS * shape.k**0.5,
        ours=frozenset(["greenkernels"]),
        extra={
            "shape": [shape.m, shape.n, shape.k],
            "zeros": shape.zeros,
            "sparse_rivals": ["torch CSR", "scipy CSR"],
        },
        task=LinearTask(stock, x),
    )


SHOWN = (
    (768, 4096),
    (1, 16, 256),
    (0.5, 0.8, 0.9, 0.95),
)  # depths, batches and shares that show the sweep's shape
CASES = [
    Case(
        name,
        partial(prepare, shape),
        quick=name.startswith("tiny"),
        sweep=not name.startswith("tiny")
        and not all(
            value in some for value, some in zip((shape.k, shape.m, shape.zeros), SHOWN, strict=True)
        ),
    )
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
    with torch.inference_mode():
        output = benchmark(chosen.call, *trial.arguments)
        expected = trial.reference(*trial.arguments)
    assert float((output - expected).norm() / expected.norm()) <= trial.tolerance
