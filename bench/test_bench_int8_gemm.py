"""int8_gemm on layers of real networks, float in and float out, against float32 and torch's own int8 paths.

Quantization of the input is inside the time, for us and for the others; weights are quantized and packed before.
`greenkernels bench int8_gemm` runs the cases in turns, with `--peers` other software among them, and writes rows, which
is what gets published; pytest runs each contender by itself (`pytest bench --benchmark-enable`), or, without that, the
small cases once.
"""

import copy
import warnings
from functools import partial
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenkernels.measure.rivals import Int8LinearTask
from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.measure.work import Work
from greenkernels.nn import Int8Linear
from greenkernels.nn.int8_weights import quantize_weight

EPS = torch.finfo(torch.float32).eps
# 8 bits for normally distributed rows and weights leave a relative error of about 1e-2: steps of 1/100 of the
# largest value each, uniform errors.
INT8_ERROR = 2e-2
# torch's dynamic layers have one scale for all of a weight and one for all of a batch, of which they use 7 bits: of a
# million normal values the largest is near 5, so that steps are 5/127 and 10/127, and errors of 1/sqrt(12) of them add
# up to 2.5e-2. Coarser than ours, and a contender all the same: rows say how far off each is.
TENSOR_ERROR = 4e-2


class Shape(NamedTuple):
    m: int
    n: int
    k: int


SHAPES = {
    "tiny 3x33x70": Shape(3, 33, 70),
    "odd 37x130x515": Shape(37, 130, 515),
    "minilm query 32x384x384": Shape(32, 384, 384),
    "minilm intermediate 32x1536x384": Shape(32, 1536, 384),
    "minilm output 32x384x1536": Shape(32, 384, 1536),
    "bert 128x3072x768": Shape(128, 3072, 768),
    "llama 1x4096x4096": Shape(1, 4096, 4096),
    "llama 8x4096x4096": Shape(8, 4096, 4096),
    "llama 32x4096x4096": Shape(32, 4096, 4096),
    "llama 128x4096x4096": Shape(128, 4096, 4096),
    "llama 512x4096x4096": Shape(512, 4096, 4096),
    "square 1024": Shape(1024, 1024, 1024),
    "square 2048": Shape(2048, 2048, 2048),
    "square 4096": Shape(4096, 4096, 4096),
}
OURS = "greenkernels Int8Linear"


def our_contender(stock: nn.Linear, work: Work) -> Contender:
    module = Int8Linear.from_module(copy.deepcopy(stock))
    return Contender(OURS, module, work=work, fresh=partial(our_contender, stock, work))


def int_mm_contender(stock: nn.Linear) -> Contender:
    """torch._int_mm with the quantization around it that a user writes."""
    b, col_scale = quantize_weight(stock.weight.detach())
    transposed, bias = b.t(), stock.bias.detach()

    def call(x: Tensor) -> Tensor:
        row_scale = x.abs().amax(1, keepdim=True) / 127
        q = (x / row_scale).round().to(torch.int8)
        return torch._int_mm(q, transposed) * (row_scale * col_scale) + bias

    fresh = partial(int_mm_contender, stock)
    return Contender("torch _int_mm", call, version=torch.__version__, tolerance=INT8_ERROR, fresh=fresh)


def dynamic_contender(stock: nn.Linear, engine: str) -> Contender:
    """torch.ao's dynamic int8 Linear on one of its engines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = engine
        try:
            quantized = torch.ao.quantization.quantize_dynamic(
                nn.Sequential(stock), {nn.Linear}, dtype=torch.qint8
            )
        finally:
            torch.backends.quantized.engine = before

    fresh = partial(dynamic_contender, stock, engine)
    return Contender(
        f"torch {engine}", quantized, version=torch.__version__, tolerance=TENSOR_ERROR, fresh=fresh
    )


def prepare(shape: Shape) -> Trial:
    generator = torch.Generator().manual_seed(0)
    m, n, k = shape
    stock = nn.Linear(k, n).eval()
    with torch.no_grad():
        stock.weight.normal_(0, k**-0.5, generator=generator)
        stock.bias.normal_(0, 0.1, generator=generator)
    x = torch.randn(m, k, generator=generator)
    weight, bias = stock.weight.detach().double(), stock.bias.detach().double()
    operations = 2.0 * m * n * k
    work = Work(operations, operations, 4.0 * m * (n + k) + n * k)
    dense = Work(operations, operations, 4.0 * (m * (n + k) + n * k))
    engines = [e for e in ("x86", "onednn", "fbgemm") if e in torch.backends.quantized.supported_engines]
    return Trial(
        contenders=[
            Contender("torch float32", stock, keep=True, version=torch.__version__, work=dense),
            int_mm_contender(stock),
            *(dynamic_contender(stock, engine) for engine in engines),
            our_contender(stock, work),
        ],
        arguments=(x,),
        reference=lambda x: F.linear(x.double(), weight, bias),
        tolerance=INT8_ERROR,
        ours=frozenset((OURS,)),
        extra={"shape": list(shape)},
        task=Int8LinearTask(stock, x, (float(x.min()), float(x.max()))),
        work=work,
    )


CASES = [
    Case(name, partial(prepare, shape), quick=name.startswith(("tiny", "odd")))
    for name, shape in SHAPES.items()
]
NAMES = ["torch float32", "torch _int_mm", "torch x86", "torch onednn", "torch fbgemm", OURS]


@pytest.mark.parametrize("contender", NAMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed(benchmark, case, contender):
    if benchmark.disabled and not case.quick:
        pytest.skip("a full case; use --benchmark-enable")
    trial = case.prepare()
    chosen = next((c for c in trial.contenders if c.name == contender), None)
    if chosen is None:
        pytest.skip(f"this torch has no engine for {contender}")
    benchmark.group = case.name
    with torch.inference_mode():
        output = benchmark(chosen.call, *trial.arguments)
        expected = trial.reference(*trial.arguments)
    bound = chosen.tolerance or trial.tolerance
    assert float((output - expected).norm() / expected.norm()) <= bound
