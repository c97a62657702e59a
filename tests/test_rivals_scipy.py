"""scipy's sparse product as a rival: right for any share of rows, and only where there are zeros."""

import pytest
import torch
from torch import nn

from greenkernels.measure import relative_error
from greenkernels.measure.rivals import CannotRun, LinearTask
from greenkernels.measure.rivals.drivers import scipy_csr
from greenkernels.measure.suite import Trial, with_rivals

pytest.importorskip("scipy")
EPS = torch.finfo(torch.float32).eps


def task(rows, *shape, zeros=0.8, bias=True):
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(70, rows, bias=bias).eval()
    with torch.no_grad():
        layer.weight[torch.rand(rows, 70, generator=generator) < zeros] = 0
    return LinearTask(layer, torch.randn(*shape, 70, generator=generator))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("rows", "shape"), [(1, (1,)), (2, (3,)), (51, (2, 5)), (50, (33,))])
def test_matches_float64(rows, shape, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        made = task(rows, *shape, bias=rows != 51)
        contender = scipy_csr.build(made)
    finally:
        torch.set_num_threads(before)
    with torch.inference_mode():
        output = contender.call(made.inputs)
        assert output.shape == (*shape, rows)
        # 14 products of a row on average, summed in order.
        assert relative_error(output, made.module.double()(made.inputs.double())) <= 70 * EPS
    assert f"{threads} threads" in contender.flags


def test_one_row_may_hold_everything():
    made = task(5, 3, zeros=1.0)
    with torch.no_grad():
        made.module.weight[4] = 1.0
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        output = scipy_csr.build(made).call(made.inputs)
    finally:
        torch.set_num_threads(before)
    assert relative_error(output, made.module.double()(made.inputs.double()).detach()) <= 70 * EPS


def test_dense_weights_are_left_to_others():
    with pytest.raises(CannotRun, match="30% zeros and more, not 0%"):
        scipy_csr.build(task(5, 3, zeros=0.0))
    trial = Trial([], (), lambda: None, 0.0, frozenset(), task=task(5, 3, zeros=0.0))
    assert "not 0%" in with_rivals(trial)[1][scipy_csr.NAME]
