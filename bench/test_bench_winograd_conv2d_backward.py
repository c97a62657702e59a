"""Both gradients of winograd_conv2d against torch's, on layers of real networks at batch 8.

`greenkernels bench winograd_conv2d_backward` runs the cases in turns and writes rows; pytest runs each contender by
itself (`pytest bench --benchmark-enable`), or, without that, the small cases once.
"""

from functools import partial

import pytest
import torch
from torch import Tensor

from greenkernels.measure.suite import Case, Trial
from greenkernels.measure.turns import Contender
from greenkernels.ops.winograd_conv2d_grad_op import input_grad, stock_backward, weight_grad

EPS = torch.finfo(torch.float32).eps

# name: (batch, in_c, out_c, h, w), padding 1
SHAPES = {
    "tiny 1x3x5x7": (1, 3, 5, 5, 7),
    "tiny 2x17x14x13": (2, 17, 33, 14, 13),
    "resnet layer1 64-64 56x56 batch 8": (8, 64, 64, 56, 56),
    "resnet layer2 128-128 28x28 batch 8": (8, 128, 128, 28, 28),
    "resnet layer3 256-256 14x14 batch 8": (8, 256, 256, 14, 14),
    "resnet layer4 512-512 7x7 batch 8": (8, 512, 512, 7, 7),
    "64-64 112x112 batch 8": (8, 64, 64, 112, 112),
    "128-128 56x56 batch 8": (8, 128, 128, 56, 56),
}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
TILE = 4
PADDING = (1, 1)
AMPLIFICATION = (
    7.2  # of rounding by the transforms, relative to a direct sum; the larger one of both gradients
)


def in_format(memory_format: torch.memory_format, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous(memory_format=memory_format) for tensor in arguments)


def stock(x: Tensor, grad: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients with respect to ``x`` and ``weight``."""
    return stock_backward(grad, x, weight, PADDING, [True, True, False])[:2]


def ours(x: Tensor, grad: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return input_grad(grad, weight, PADDING, TILE), weight_grad(x, grad, PADDING, TILE)


CALLS = {"torch": stock, f"greenkernels tile={TILE}": ours}
NAMES = [f"{call} {name}" for call in CALLS for name in FORMATS]


def prepare(batch: int, in_c: int, out_c: int, h: int, w: int) -> Trial:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, in_c, h, w, generator=generator).relu_()  # activations are mostly rectified
    grad = torch.randn(batch, out_c, h, w, generator=generator)
    weight = torch.randn(out_c, in_c, 3, 3, generator=generator)
    contenders = [
        Contender(f"{name} {layout}", call, partial(in_format, memory_format), keep=call is stock)
        for name, call in CALLS.items()
        for layout, memory_format in FORMATS.items()
    ]
    return Trial(
        contenders=contenders,
        arguments=(x, grad, weight),
        reference=lambda *tensors: stock(*(tensor.double() for tensor in tensors)),
        tolerance=4 * EPS * max(9 * out_c, batch * h * w) ** 0.5 * AMPLIFICATION,
        ours=frozenset(NAMES[len(FORMATS) :]),
        extra={"shape": [batch, in_c, out_c, h, w], "padding": 1},
    )


CASES = [
    Case(name, partial(prepare, *shape), quick=name.startswith("tiny")) for name, shape in SHAPES.items()
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
        outputs = benchmark(chosen.call, *chosen.prepare(trial.arguments))
        expected = trial.reference(*trial.arguments)
    for output, exact in zip(outputs, expected, strict=True):
        assert float((output - exact).norm() / exact.norm()) <= trial.tolerance
