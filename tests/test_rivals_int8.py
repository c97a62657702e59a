"""Rivals in 8 bits: each computes the right thing where it is installed, by the integers that our kernels take."""

import pytest
import torch
from test_rivals import only, run
from torch import nn

from greenkernels.measure import relative_error, rivals
from greenkernels.measure.rivals import Int8ConvTask, Int8LinearTask
from greenkernels.measure.rivals.int8_weights import layer_of
from greenkernels.measure.rivals.task import affine_of

ERROR = 2e-2  # of 8 bits on both sides: steps of 1/100 of the largest value each, uniform errors; of the output too


def ends(x):
    return float(x.min()), float(x.max())


def linear_task(bias=True):
    module, x = nn.Linear(70, 50, bias=bias).eval(), torch.randn(33, 70)
    return Int8LinearTask(module, x, ends(x))


def conv_task(**options):
    module, x = nn.Conv2d(16, 24, 3, **options).eval(), torch.randn(1, 16, 14, 13)
    with torch.inference_mode():
        return Int8ConvTask(module, x, ends(x), ends(module(x)))


TASKS = {
    "linear": linear_task,
    "linear, no bias": lambda: linear_task(False),
    "conv": lambda: conv_task(padding=1),
    "conv valid, stride 2": lambda: conv_task(stride=2, bias=False),
    "conv padded, stride 2": lambda: conv_task(padding=1, stride=2),
}
PAIRS = [
    (rival.name, what)
    for rival in rivals.registered()
    for what in TASKS
    if (Int8LinearTask if what.startswith("linear") else Int8ConvTask) in rival.tasks
]


@pytest.mark.parametrize(("name", "what"), PAIRS)
def test_is_near_float64(name, what):
    torch.manual_seed(0)
    task = TASKS[what]()
    contender = only(name, task)
    with torch.inference_mode():
        exact = task.module.double()(task.inputs.double())
    task.module.float()
    assert relative_error(run(contender, (task.inputs,)), exact) <= ERROR
    assert contender.version
    assert f"{torch.get_num_threads()} threads" in contender.flags


def test_every_rival_gets_our_integers():
    task = linear_task(False)
    values, scale, bias = layer_of(task)
    assert values.dtype == torch.int8
    assert (values * scale[:, None] - task.module.weight).abs().max() <= scale.max() / 2 * (1 + 1e-6)
    assert not bias.any()


@pytest.mark.parametrize(("low", "high", "zero"), [(-1.0, 3.0, 64), (0.5, 2.0, 0), (-2.0, -1.0, 255)])
def test_the_range_and_0_fill_the_steps(low, high, zero):
    by = affine_of((low, high))
    assert by.zero == zero
    assert by.scale * 255 == pytest.approx(max(high, 0) - min(low, 0))
