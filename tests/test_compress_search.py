"""gk.compress.search: fewest bytes above a floor, tried on the network and not only read from the table."""

import copy

import pytest
import torch
from synthetic_clock import SyntheticClock
from torch import nn

import greenkernels as gk
from greenkernels.nn import SparseConv2d, WinogradConv2d

METHODS = ["prune 0.8", "int8", "low-rank 0.5"]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 6)).eval()


X = torch.randn(50, 30)


def closeness(want):
    return lambda model: -float((model(X) - want).norm() / want.norm())


@torch.no_grad()
def found_for(model):
    metric = closeness(model(X))
    return metric, gk.compress.sensitivity(model, metric, methods=METHODS)


@torch.no_grad()
@pytest.mark.parametrize("floor", [-0.02, -0.2, -2.0])
def test_keeps_to_the_floor_and_saves_more_below_a_lower_one(floor):
    model = net()
    metric, found = found_for(model)
    before = copy.deepcopy(model.state_dict())
    small = gk.compress.search(model, metric, found, floor=floor)
    assert metric(small) >= floor
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    got = gk.compress.chosen_methods(small)
    assert set(got) <= {"0", "2", "4"}
    if floor == -2.0:  # everything may go: each layer by its smallest method
        cells = {
            layer: min((c for c in found.cells if c.layer == layer), key=lambda c: c.bytes) for layer in "024"
        }
        assert got == {layer: cell.method for layer, cell in cells.items()}


@torch.no_grad()
def test_stops_at_the_budget_and_says_what_cannot_be_kept():
    model = net()
    metric, found = found_for(model)
    whole = sum(found.weight_bytes.values())
    small = gk.compress.search(model, metric, found, floor=-2.0, budget=whole - 1)
    assert len(gk.compress.chosen_methods(small)) == 1
    with pytest.raises(
        ValueError, match=f"budget must be at least {whole} bytes for a quality of 0.0, got 10"
    ):
        gk.compress.search(model, metric, found, floor=0.0, budget=10)
    with pytest.raises(ValueError, match="floor must be at most the quality"):
        gk.compress.search(model, metric, found, floor=1.0)


@torch.no_grad()
def test_a_cost_that_is_no_number_is_refused():
    model = net()
    metric, found = found_for(model)
    with pytest.raises(ValueError, match="cost must give a finite number, got nan"):
        gk.compress.search(model, metric, found, floor=-2.0, budget=1, cost=lambda model: float("nan"))


def test_tells_only_of_its_own_networks():
    with pytest.raises(ValueError, match="model must come from search, got a plain Sequential"):
        gk.compress.chosen_methods(net())


@torch.no_grad()
def test_methods_of_ones_own_and_a_network_of_one_layer():
    def drop(model, name):
        model.get_submodule(name).weight.zero_()

    layer = nn.Linear(4, 4).eval()
    found = gk.compress.sensitivity(layer, lambda m: 1.0, methods={"drop": drop})
    small = gk.compress.search(layer, lambda m: 1.0, found, floor=0.5, methods={"drop": drop})
    assert not small.weight.any()
    assert layer.weight.any()
    assert gk.compress.chosen_methods(small) == {"": "drop"}


@torch.no_grad()
def test_a_budget_of_joules_or_seconds():
    model = net()
    metric, found = found_for(model)

    def floats(network):  # a cost that int8 alone makes less
        return sum(type(m) is nn.Linear for m in network)

    small = gk.compress.search(model, metric, found, floor=-2.0, budget=1, cost=floats)
    assert list(gk.compress.chosen_methods(small).values()) == ["int8", "int8"]
    with pytest.raises(ValueError, match=r"budget must be at least 3 for a quality of 0\.0, got 1"):
        gk.compress.search(model, metric, found, floor=0.0, budget=1, cost=floats)
    joules = gk.compress.search(
        model, metric, found, floor=-2.0, cost=lambda m: gk.energy.estimate(m, X).energy_j.value
    )
    assert gk.compress.chosen_methods(joules)


# --- kernels, joules and seconds


def maps() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten()).eval()


MAPS = torch.randn(2, 8, 12, 12)


@torch.no_grad()
def test_a_kernel_is_chosen_where_it_costs_less():
    model = maps()
    metric = lambda m: -float((m(MAPS) - model(MAPS)).norm())  # noqa: E731

    def cost(network):  # as if Winograd halved a layer, and sparse products another one
        return sum(
            {WinogradConv2d: 5.0, SparseConv2d: 4.0}.get(type(m), 10.0)
            for m in network
            if hasattr(m, "weight")
        )

    methods = ["winograd_conv2d tile=2", "sparse 0.5"]
    found = gk.compress.sensitivity(model, metric, methods=methods, cost=cost)
    assert found.cost == 20
    assert found.left("0", "winograd_conv2d tile=2") == 0.75
    assert found.left("2", "winograd_conv2d tile=2") is None
    assert "kernel_size must be (3, 3)" in found.cell("2", "winograd_conv2d tile=2").reason
    assert "share of the cost that is left" in str(found)
    exact = gk.compress.search(model, metric, found, floor=-1e-3, cost=cost)
    assert gk.compress.chosen_methods(exact) == {"0": "winograd_conv2d tile=2"}
    assert (type(exact[0]), exact[0].tile) == (WinogradConv2d, 2)
    both = gk.compress.search(model, metric, found, floor=-1e3, cost=cost)
    assert [type(both[i]) for i in (0, 2)] == [SparseConv2d, SparseConv2d]
    kept = gk.compress.search(model, metric, found, floor=-1e3, budget=15, cost=cost)
    assert gk.compress.chosen_methods(kept) == {"0": "winograd_conv2d tile=2"}


@torch.no_grad()
@pytest.mark.parametrize("name", ["winograd_conv2d tile=3", "strassen_gemm"])
def test_a_kernel_that_a_layer_cannot_have_is_told(name):
    found = gk.compress.sensitivity(maps(), lambda m: 1.0, methods=[name], layers=["0"])
    assert found.cells[0].quality is None
    assert name.split()[0] in found.cells[0].reason


def test_a_kernel_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"kernel must be one of .*, got 'no_conv2d'"):
        gk.compress.sensitivity(maps(), lambda m: 1.0, methods=["no_conv2d"])


@torch.no_grad()
def test_modelled_joules_are_those_of_the_estimate():
    model, joules = net(), gk.compress.modelled_joules(X)
    assert joules(model) == gk.energy.estimate(model, X).energy_j.value
    metric = closeness(model(X))
    found = gk.compress.sensitivity(model, metric, methods=METHODS, cost=joules)
    done = gk.compress.search(model, metric, found, floor=-2.0, cost=joules)
    assert gk.compress.chosen_methods(done)
    assert joules(done) < joules(model)


class Takes(nn.Module):
    """Works so long on the clock."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def forward(self, x):
        self.clock.work(self.seconds)
        return x + 0


def test_measured_seconds_are_told_by_the_time_of_the_network_as_it_was():
    clock = SyntheticClock()
    stock = Takes(clock, 1e-3)
    seconds = gk.compress.measured_seconds(stock, torch.ones(3), clock=clock)
    assert seconds(Takes(clock, 0.25e-3)) == pytest.approx(0.25e-3, rel=1e-6)
    stock.seconds = 3e-3  # the machine has become slower by three times
    assert seconds(Takes(clock, 0.75e-3)) == pytest.approx(0.25e-3, rel=1e-6)
