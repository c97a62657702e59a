"""The description that a network of the pipeline is built again from: every kind of layer, shared weights."""

import json

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.compress.factors import factor
from greenkernels.compress.pipeline import structure
from greenkernels.nn import PairedMaxPool2d


def test_a_network_is_built_again_without_losing_what_it_shares():
    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 4))
        net[2].weight = net[0].weight
        return net

    made = build()
    made[3] = factor(made[3], "low-rank", 2)
    said = json.loads(json.dumps(structure.describe(made)))
    again = structure.rebuild(build(), said)
    assert again[2].weight is again[0].weight
    assert [tuple(p.shape) for p in again.parameters()] == [tuple(p.shape) for p in made.parameters()]
    assert structure.describe(again) == structure.describe(made)


@pytest.mark.parametrize("channels_last", [True, False])
def test_every_kind_of_layer_comes_back(tmp_path, channels_last):
    def build() -> nn.Module:
        body = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)]
        return nn.Sequential(*body, nn.Flatten(), *[nn.Linear(32, 32) for _ in range(5)]).eval()

    torch.manual_seed(0)
    made, x = build(), torch.randn(2, 3, 10, 10)
    made = gk.compress.quantize(made, 8, layers=["4", "6"])
    made = gk.compress.quantize(made, 4, layers=["7"])
    made = gk.compress.finish_shared(gk.compress.share(made, 2, layers=["8"]))
    made[3], made[9] = PairedMaxPool2d(), factor(made[9], "low-rank", 3)
    gk.compress.prune(made, 0.9, layers=["10"])
    made = gk.compress.to_sparse(made, warn=False).eval()
    if channels_last:
        made = made.to(memory_format=torch.channels_last)
    said = json.loads(json.dumps(structure.describe(made)))
    file = gk.save(made, tmp_path / "state.safetensors")
    again = gk.load(structure.rebuild(build(), said), file).eval()
    assert repr(again).replace("0x", "") == repr(made).replace("0x", "")
    with torch.no_grad():
        assert torch.equal(again(x), made(x))
    assert again[0].weight.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_a_layer_that_no_description_speaks_of_is_named():
    layer = gk.nn.DirectConv2d.from_module(nn.Conv2d(2, 2, 3))
    with pytest.raises(ValueError, match="0: a recipe cannot keep a DirectConv2d yet"):
        structure.require_known(nn.Sequential(layer))
