"""gk.compress.share: few different weights, their training, the layers that store places alone."""

import pytest
import torch
from conv_cases import needs_kernels
from rounding_bounds import EPS
from test_compress_quantize import BATCHES, assert_within_rounding, error, net
from torch import nn

import greenkernels as gk
from greenkernels.nn import CodebookLinear, Int8Conv2d


@needs_kernels
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("group", [0, 32])
def test_each_layer_has_few_weights_and_computes_nearly_the_same(bits, group):
    stock = net()
    shared = gk.compress.share(stock, bits, group=group)
    if not group:
        assert all(len(shared[i].weight.unique()) <= 1 << bits for i in (0, 4, 6))
    done = gk.compress.finish_shared(shared)
    assert [type(done[i]) for i in (0, 4, 6)] == [Int8Conv2d, CodebookLinear, CodebookLinear]
    assert len(done[0].weight_int8.unique()) <= 1 << bits
    assert (done[4].bits, done[4].group) == (bits, group or 128)
    for i in (0, 4, 6):
        assert_nearest_and_means(shared[i], stock[i])
        # Entries are rounded to steps of a 32nd of the largest or less, and scales to bfloat16 numbers.
        weight, found = shared[i].weight.detach().flatten(1), done[i].weight.detach().flatten(1)
        assert ((found - weight).abs() <= (1 / 64 + 2.0**-8) * weight.abs().max()).all()
    assert_within_rounding(done, stock)


@torch.no_grad()
def assert_nearest_and_means(shared: nn.Module, stock: nn.Module) -> None:
    """What makes k-means done: each weight is at its nearest entry, and each entry is the mean of its weights."""
    parts = shared.parametrizations.weight
    codebook, index = parts.original, parts[0].index.flatten(1).long()
    scaled = stock.weight.flatten(1) / (shared.weight.flatten(1) / codebook[index])  # by the steps of groups
    rounding = 8 * EPS * scaled.abs().max()
    distance = (scaled[..., None] - codebook).abs()
    assert (distance.gather(-1, index[..., None])[..., 0] <= distance.amin(-1) + rounding).all()
    for entry in index.unique():
        assert abs(scaled[index == entry].double().mean() - codebook[entry]) <= rounding


def test_training_moves_the_codebook_alone():
    stock = net()
    shared = gk.compress.share(stock, 2)
    before, places = error(shared, stock), shared[4].parametrizations.weight[0].index.clone()
    trained = {name for name, _ in shared.named_parameters()}
    assert "4.parametrizations.weight.original" in trained
    assert shared[4].parametrizations.weight.original.shape == (4,)
    optimizer = torch.optim.Adam(shared.parameters(), 3e-3)
    for x in BATCHES * 10:
        loss = (shared(x) - stock(x).detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert error(shared, stock) < 0.9 * before
    assert torch.equal(shared[4].parametrizations.weight[0].index, places)
    assert len(shared[4].weight.unique()) <= 4


@pytest.mark.parametrize("bits", [2, 4])
def test_powers_of_two_stay_as_they_are(bits):
    shared = gk.compress.share(nn.Linear(64, 32), bits, values="power-of-two")
    weight = shared.weight.detach()
    ratios = (weight.abs() / weight.abs().max())[weight != 0].log2()
    assert torch.allclose(ratios, ratios.round())
    shared(torch.randn(3, 64)).sum().backward()
    assert (shared.parametrizations.weight.original.grad == 0).all()
    done = gk.compress.finish_shared(shared)
    assert torch.allclose(done.weight, weight, rtol=1e-2)  # the scale is a bfloat16 number
    assert all(v == 0 or abs(v) & (abs(v) - 1) == 0 for v in done.weight_codebook[1].tolist())


def test_pruned_weights_stay_zero():
    stock = gk.compress.apply_masks(gk.compress.prune(nn.Linear(64, 32), 0.7))
    shared = gk.compress.share(stock)
    zero = stock.weight == 0
    assert (shared.weight[zero] == 0).all()
    optimizer = torch.optim.SGD(shared.parameters(), 1.0)
    shared(torch.randn(9, 64)).square().sum().backward()
    optimizer.step()
    assert (shared.weight[zero] == 0).all()
    assert (gk.compress.finish_shared(shared).weight[zero] == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 3}, "bits must be 2 or 4, got 3"),
        ({"values": "any"}, "values must be one of k-means, power-of-two, got 'any'"),
        ({"group": 48}, "group must be 0 or one of"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        gk.compress.share(net(), **changes)
