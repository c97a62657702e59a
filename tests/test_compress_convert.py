"""From masks to layers of nonzeros and back, the count of zeros, and channels that leave the network."""

import copy

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import greenkernels as gk
from greenkernels.nn import SparseLinear


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(60, 50), nn.ReLU(), nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 3))


def test_to_sparse_replaces_what_has_zeros_enough_and_computes_the_same():
    model, x = mlp().eval(), torch.randn(70, 60)
    gk.compress.prune(model, 0.9, scope="layer", layers=["0", "2"])
    want = model(x)  # and its weights are now those that hooks computed
    sparse = gk.compress.to_sparse(model, warn=False)
    assert [type(m) for m in sparse] == [SparseLinear, nn.ReLU, SparseLinear, nn.ReLU, nn.Linear]
    assert hasattr(model[0], "weight_mask")  # the original stays as it was
    torch.testing.assert_close(sparse(x), want)
    counted, before = gk.compress.sparsity(sparse), gk.compress.sparsity(model)
    assert (counted.zeros, counted.weights) == (before.zeros, before.weights)


def test_to_sparse_takes_zeros_written_by_hand_and_shared_layers_once():
    layer = nn.Linear(30, 30)
    with torch.no_grad():
        layer.weight[torch.rand(30, 30) < 0.9] = 0
    sparse = gk.compress.to_sparse(nn.Sequential(layer, nn.ReLU(), layer), warn=False)
    assert isinstance(sparse[0], SparseLinear)
    assert sparse[0] is sparse[2]
    assert isinstance(gk.compress.to_sparse(layer, warn=False), SparseLinear)
    assert type(gk.compress.to_sparse(layer, at_least=0.99, warn=False)) is nn.Linear


def test_apply_masks_writes_the_zeros_of_any_parameter():
    model = mlp()
    torch_prune.l1_unstructured(model[0], "weight", 0.5)
    torch_prune.l1_unstructured(model[0], "bias", 0.5)
    want = model[0].weight.clone()
    assert gk.compress.apply_masks(model) is model
    assert torch.equal(model[0].weight, want)
    assert not torch_prune.is_pruned(model)
    assert (model[0].bias == 0).sum() == 25


def test_sparsity_prints_a_table():
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
    gk.compress.prune(model, 0.5, layers=["0"])
    counted = gk.compress.sparsity(model)
    assert (counted.zeros, counted.weights, counted.share) == (50, 120, 50 / 120)
    assert str(counted).splitlines() == [
        "layer               zeros     weights  share",
        "0      Linear          50         100   50.0%",
        "1      Linear           0          20    0.0%",
        "all                    50         120   41.7%",
    ]


class Net(nn.Module):
    """Convolutions with a branch, functions and a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 10, 3)
        self.branch = nn.Conv2d(10, 6, 1)
        self.hidden = nn.Linear(6 * 9, 12)
        self.last = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.nn.functional.max_pool2d(self.second(x), 2)
        x = self.branch(x) + x[:, :6]
        return self.last(torch.nn.functional.relu(self.hidden(torch.flatten(x, 1))))


def test_shrink_takes_channels_out_where_it_can():
    model, x = Net().eval(), torch.randn(2, 1, 8, 8)
    gk.compress.prune(model, 0.5, structure="channels", scope="layer", layers=["first", "second", "hidden"])
    want = model(x)
    small = gk.compress.shrink(model)
    torch.testing.assert_close(small(x), want)
    assert (small.first.out_channels, small.second.in_channels) == (4, 4)
    assert small.second.out_channels == 10  # two modules read it
    assert (small.hidden.out_features, small.last.in_features) == (6, 6)
    assert small.hidden.in_features == 6 * 9
    assert model.first.out_channels == 8
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in Net().parameters())


def test_shrink_goes_through_norms_and_flattened_maps():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3)
    ).eval()
    gk.compress.prune(model, 0.25, structure="channels", layers=["0"])
    x = torch.randn(2, 1, 8, 8)
    small = gk.compress.shrink(model)
    assert small[1].num_features == 6
    assert small[5].in_features == 6 * 9
    # A fresh norm turns 0 into 0, so here not even that constant is lost.
    torch.testing.assert_close(small(x), model(x))


def test_shrink_leaves_a_network_without_pruned_channels_as_it_is():
    model, x = Net().eval(), torch.randn(1, 1, 8, 8)
    small = gk.compress.shrink(copy.deepcopy(model))
    assert torch.equal(small(x), model(x))
    emptied = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    gk.compress.prune(emptied, 1.0, structure="channels", layers=["0"])
    assert gk.compress.shrink(emptied)[0].out_features == 1
