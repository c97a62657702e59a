"""gk.compress.find_grid: both conventions, tensors, channels and groups, where grids end."""

import pytest
import torch

import greenkernels as gk
from greenkernels.compress.quantization import Grid, find_grid
from greenkernels.compress.quantization.ranges import RANGES

EPS = torch.finfo(torch.float32).eps


def test_both_conventions_round_half_to_even():
    scale, zero = torch.tensor(0.25), torch.tensor(0.0)
    by_steps, reciprocal = Grid(scale, zero, 8), Grid(1 / scale, zero, 8, reciprocal=True)
    x = torch.tensor([0.75, 0.125, 0.375, -0.125, 0.625])
    for grid in (by_steps, reciprocal, by_steps.inverted(), by_steps.inverted().inverted()):
        assert grid.to_integers(x).tolist() == [3, 0, 2, 0, 2]
        assert grid.rounded(x).tolist() == [0.75, 0.0, 0.5, 0.0, 0.5]
    moved = Grid(scale, torch.tensor(-7.0), 4)
    assert moved.to_integers(torch.tensor([0.0, 0.75, 100.0, -100.0])).tolist() == [-7, -4, 7, -8]
    assert moved.to_floats(torch.tensor([-4])).item() == 0.75


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per", ["tensor", "channel", "group"])
def test_what_is_inside_comes_back_within_half_a_step(per, symmetric, bits):
    x = torch.randn(5, 3, 7) + (0 if symmetric else 3)
    grid = find_grid(x, bits, per=per, group=16, symmetric=symmetric)
    q = grid.to_integers(x)
    assert q.dtype == torch.int8
    assert int(q.min()) >= grid.least
    assert int(q.max()) <= grid.most
    assert tuple(grid.scale.shape) == {"tensor": (), "channel": (5,), "group": (5, 2)}[per]
    steps = (grid.to_floats(torch.ones_like(q)) - grid.to_floats(torch.zeros_like(q))).abs()
    # A moved zero is rounded, too, so that an end may lie half a step further out.
    assert ((grid.rounded(x) - x).abs() <= steps * (0.5 if symmetric else 1) + 8 * EPS * x.abs() + 1e-6).all()
    assert torch.equal(grid.rounded(torch.zeros_like(x)), torch.zeros_like(x))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("ends", list(RANGES))
def test_ends_are_no_wider_than_the_values(ends, symmetric):
    rows = torch.randn(3, 20_000)
    rows[0, 0] = 50.0  # an outlier
    low, high = RANGES[ends](rows, 4, symmetric)
    assert (low >= rows.amin(1)).all()
    assert (high <= rows.amax(1)).all()
    error = {
        name: (find_grid(rows, 4, ends=name, symmetric=symmetric).rounded(rows) - rows).square().sum(1)
        for name in (ends, "largest", "squares")
    }
    assert (error["squares"] <= error["largest"]).all()
    if ends in ("percentile", "squares"):
        assert error[ends][0] < error["largest"][0]  # of the row with the outlier


def test_entropy_cuts_off_an_outlier():
    values = torch.cat((torch.randn(20_000), torch.tensor([1000.0])))[None]
    assert float(RANGES["entropy"](values, 8, True)[1]) < 500


def test_entropy_does_not_cut_more_for_the_zeros_of_a_rectifier():
    values = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0)).abs()
    end = float(RANGES["entropy"](values, 8, False)[1])
    with_zeros = torch.cat((values, torch.zeros(1, 200_000)), 1)
    assert float(RANGES["entropy"](with_zeros, 8, False)[1]) == end


def test_zeros_and_nothing_at_all():
    for ends in RANGES:
        grid = find_grid(torch.zeros(2, 40), ends=ends)
        assert torch.equal(grid.rounded(torch.zeros(2, 40)), torch.zeros(2, 40))
    assert find_grid(torch.zeros(0, 4)).to_integers(torch.zeros(0, 4)).shape == (0, 4)


def test_ends_of_ones_own():
    grid = find_grid(
        torch.randn(2, 8), ends=lambda rows, bits, symmetric: (-rows[:, 0] * 0 - 2, rows[:, 0] * 0 + 1)
    )
    assert torch.allclose(grid.scale, torch.tensor([2 / 128, 2 / 128]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per": "row"}, "per must be one of tensor, channel, group, got 'row'"),
        ({"bits": 9}, "bits must be 2 to 8, got 9"),
        (
            {"ends": "most"},
            "ends must be one of largest, percentile, squares, entropy or a function, got 'most'",
        ),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        find_grid(torch.ones(2, 2), **changes)
    with pytest.raises(ValueError, match="x must be finite"):
        gk.compress.find_grid(torch.tensor([[float("nan")]]))
