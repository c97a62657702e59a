"""gk.compress.search: fewest bytes above a floor, tried on the network and not only read from the table."""

import copy

import pytest
import torch
from torch import nn

import greenkernels as gk

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
