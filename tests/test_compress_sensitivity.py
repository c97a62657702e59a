"""gk.compress.sensitivity: one layer at a time, what cannot be, runs that go on, the heat map."""

import copy
import json

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.nn import Int8Linear


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 12), nn.Linear(12, 5)
    ).eval()


X = torch.randn(6, 1, 8, 8)


def closeness(want):
    """A metric: minus the distance to the answers of the network as it is."""
    return lambda model: -float((model(X) - want).norm())


@torch.no_grad()
def test_each_cell_is_the_network_with_that_layer_alone_compressed():
    model = net()
    want = model(X)
    before = copy.deepcopy(model.state_dict())
    found = gk.compress.sensitivity(
        model, closeness(want), methods=["prune 0.8", "int8", "low-rank 0.5", "tucker 0.5"]
    )
    assert found.layers == ["0", "3", "4"]
    assert found.quality == 0
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())

    pruned = gk.compress.prune(copy.deepcopy(model), 0.8, layers=["3"])
    assert found.lost("3", "prune 0.8") == pytest.approx(float((pruned(X) - want).norm()))
    other = copy.deepcopy(model)
    other[4] = Int8Linear.from_module(other[4])
    assert found.lost("4", "int8") == pytest.approx(float((other(X) - want).norm()))
    other = copy.deepcopy(model)
    other[0] = gk.compress.factor(other[0], "low-rank", 2)
    assert found.lost("0", "low-rank 0.5") == pytest.approx(float((other(X) - want).norm()))

    assert found.lost("3", "tucker 0.5") is None
    (cell,) = (c for c in found.cells if (c.layer, c.method) == ("3", "tucker 0.5"))
    assert "convolution with a filter larger than 1x1" in cell.reason


def test_the_last_column_is_quality_per_modelled_joule_above_the_floor():
    model = net()
    with torch.no_grad():
        want = model(X)
    joules = gk.compress.modelled_joules(X)

    def quality(network):
        return float(10 - (network(X) - want).norm())

    found = gk.compress.sensitivity(model, quality, methods=["int8", "prune 1.0"], cost=joules)
    cell = found.cell("3", "int8")
    assert found.per_joule("3", "int8") == pytest.approx(cell.quality / cell.cost)
    assert found.lost("3", "prune 1.0") > 0.1  # 1 % of 10
    assert found.per_joule("3", "prune 1.0") is None
    head = str(found).split("\n\n")[1].splitlines()[0]
    assert head.endswith("quality / J")
    timed = gk.compress.sensitivity(model, quality, methods=["int8"], cost=lambda network: 1.0)
    assert "/ J" not in str(timed)


def test_bytes_are_those_that_kernels_keep():
    found = gk.compress.sensitivity(
        net(),
        lambda model: 1.0,
        methods=["prune 0.5", "prune 0.1", "int8", "low-rank 0.5", "int4", "codebook 2", "half_gemm"],
    )
    sizes = {cell.method: cell.bytes for cell in found.cells if cell.layer == "3"}
    assert found.weight_bytes["3"] == 4 * 12 * 144
    assert sizes == {
        "prune 0.5": 6 * 6 * 144,
        "prune 0.1": 4 * 12 * 144,  # dense is smaller
        "int8": 12 * 144,
        "low-rank 0.5": 4 * 6 * (12 + 144),
        "int4": 32 * (3 * (2 + 32) + 4),  # a panel of 32 outputs, three groups of 64 inputs
        "codebook 2": 64 + 32 * (5 * (2 + 8) + 4),  # five groups of 32
        "half_gemm": 2 * 32 * 144,  # a panel of 32 outputs
    }


def test_a_run_that_was_stopped_goes_on(tmp_path):
    model, path = net(), tmp_path / "cells.json"
    calls = 0

    def metric(_):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        gk.compress.sensitivity(model, metric, methods=["prune 0.5", "int8"], path=path)
    assert len(json.loads(path.read_text())["cells"]) == 2
    found = gk.compress.sensitivity(model, metric, methods=["prune 0.5", "int8"], path=path)
    assert calls == 4 + 4  # the quality of the network and two cells were known
    assert len(found.cells) == 6
    gk.compress.sensitivity(model, metric, methods=["prune 0.5", "int8"], path=path)
    assert calls == 8
    with torch.no_grad():
        model[4].weight += 1  # another network
    gk.compress.sensitivity(model, metric, methods=["int8"], path=path)
    assert calls == 8 + 4


def test_joules_of_other_inputs_are_no_known_ones(tmp_path):
    costs = [
        gk.compress.sensitivity(
            net(),
            lambda model: 1.0,
            methods=["int8"],
            cost=gk.compress.modelled_joules(x),
            path=tmp_path / "cells.json",
        ).cost
        for x in (X, X[:1], X)
    ]
    assert costs[0] == costs[2] > costs[1]


def test_methods_of_ones_own_and_a_network_of_one_layer():
    def halve(model, layer):
        with torch.no_grad():
            model.get_submodule(layer).weight *= 0.5

    layer = nn.Linear(3, 2).eval()
    found = gk.compress.sensitivity(layer, lambda m: float(m.weight.detach().norm()), methods={"half": halve})
    assert found.lost("", "half") == pytest.approx(float(layer.weight.detach().norm()) / 2)
    assert gk.compress.sensitivity(layer, lambda m: 1.0, methods=["int8"]).lost("", "int8") == 0


def test_prints_a_table_and_draws_a_heat_map(tmp_path):
    pytest.importorskip("matplotlib")
    found = gk.compress.sensitivity(net(), closeness(torch.zeros(6, 5)), methods=["prune 0.9", "tucker 0.5"])
    text = str(found)
    assert "prune 0.9" in text
    assert "quality lost by each layer alone" in text
    found.plot().save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"sensitivity.svg", "sensitivity.png"}


@pytest.mark.parametrize("name", ["prune", "prune 2", "int3", "svd 0.5", "low-rank x"])
def test_refuses_methods_that_are_not_there(name):
    with pytest.raises(ValueError, match="sensitivity: methods must be"):
        gk.compress.sensitivity(net(), lambda model: 1.0, methods=[name])


def test_refuses_a_quality_that_is_no_number():
    with pytest.raises(ValueError, match="the quality must be a number, got nan for the network as it is"):
        gk.compress.sensitivity(net(), lambda model: float("nan"))
