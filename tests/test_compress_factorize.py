"""gk.compress.factorize: forms against their weight, the choice of ranks against trying all, whole networks."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn

import greenkernels as gk
from greenkernels.compress.factors import FORMS, Factored, factor
from greenkernels.compress.rank_choice import Choice, choose

# float64 throughout. Rounding of a weight that is put together again from an SVD: some tens of eps of its size.
CLOSE = 1e-12


def conv(**options) -> nn.Conv2d:
    return nn.Conv2d(5, 7, 3, dtype=torch.double, **options).eval()


def seen_weight(made: nn.Module, like: nn.Module) -> torch.Tensor:
    """The weight of the one layer that computes what ``made`` does: its answers to single ones, without bias."""
    if isinstance(like, nn.Linear):
        ones = torch.eye(like.in_features, dtype=torch.double)
        return (made(ones) - made(torch.zeros_like(ones))).T
    c, (h, w) = like.in_channels, like.kernel_size
    ones = torch.zeros(c, c, 2 * h - 1, 2 * w - 1, dtype=torch.double)
    ones[range(c), range(c), h - 1, w - 1] = 1
    answer = made(ones) - made(torch.zeros_like(ones))  # [c, n, h, w], the filter backwards
    return answer.transpose(0, 1).flip(2, 3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "bias": False},
        {"padding": "same", "dilation": 2},
        {"padding": (2, 1), "padding_mode": "circular"},
        {"kernel_size": (1, 3)},
    ],
)
def test_largest_ranks_compute_what_the_layer_did(form, options):
    layer = nn.Conv2d(
        **{"in_channels": 5, "out_channels": 7, "kernel_size": 3, "dtype": torch.double} | options
    )
    made = factor(layer, form, FORMS[form].largest(layer))
    x = torch.randn(2, 5, 11, 12, dtype=torch.double)
    torch.testing.assert_close(made(x), layer(x), atol=CLOSE, rtol=CLOSE)
    assert made.weight_error < 1e-7  # the root of a difference of sums that is rounded at 1e-16 of them
    assert {type(part) for part in made} == {nn.Conv2d}


@pytest.mark.parametrize("bias", [True, False])
def test_linear_and_1x1_have_the_low_rank_form(bias):
    layer = nn.Linear(9, 4, bias, dtype=torch.double)
    made = factor(layer, "low-rank", 4)
    x = torch.randn(3, 9, dtype=torch.double)
    torch.testing.assert_close(made(x), layer(x), atol=CLOSE, rtol=CLOSE)
    assert [type(part) for part in made] == [nn.Linear, nn.Linear]
    assert isinstance(factor(nn.Conv2d(9, 4, 1), "low-rank", 2)[0], nn.Conv2d)


@pytest.mark.parametrize(
    ("form", "ranks"),
    [("low-rank", 3), ("tucker", (3, 4)), ("tucker", (5, 2)), ("bottleneck", 3), ("depthwise", 2)],
)
def test_the_error_is_that_of_the_weight_it_computes_with(form, ranks):
    layer = conv(bias=False)
    made = factor(layer, form, ranks)
    error = (seen_weight(made, layer) - layer.weight).norm() / layer.weight.norm()
    assert made.weight_error == pytest.approx(error.item(), abs=1e-12)


@pytest.mark.parametrize("form", ["low-rank", "depthwise"])
def test_these_forms_are_the_best_of_their_rank(form):
    layer = conv()
    made = factor(layer, form, 2)
    best = made.weight_error
    for part in made:
        for _ in range(5):
            moved = copy.deepcopy(made)
            place = list(made).index(part)
            with torch.no_grad():
                moved[place].weight += 1e-3 * torch.randn_like(moved[place].weight)
            error = (seen_weight(moved, layer) - layer.weight).norm() / layer.weight.norm()
            assert error.item() >= best - 1e-12


def test_what_has_low_rank_already_loses_nothing():
    layer = nn.Linear(20, 30, dtype=torch.double)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(30, 3) @ torch.randn(3, 20))
    assert factor(layer, "low-rank", 3).weight_error < 1e-7
    assert factor(layer, "low-rank", 2).weight_error > 0.01


@pytest.mark.parametrize(
    ("layer", "form", "ranks", "said"),
    [
        (
            nn.Linear(3, 4),
            "rank",
            1,
            "form must be one of low-rank, tucker, bottleneck, depthwise, got 'rank'",
        ),
        (nn.Linear(3, 4), "low-rank", 0, r"ranks of low-rank must be 1 to \(3,\), got \(0,\)"),
        (nn.Linear(3, 4), "low-rank", 4, r"got \(4,\)"),
        (nn.Linear(3, 4), "low-rank", (1, 1), r"got \(1, 1\)"),
        (nn.Linear(3, 4), "tucker", (1, 1), "layer must be a convolution with a filter larger than 1x1"),
        (nn.Conv2d(3, 4, 1), "depthwise", 1, "layer must be a convolution with a filter larger than 1x1"),
        (nn.Conv2d(4, 4, 3, groups=2), "low-rank", 1, "groups must be 1, got groups=2"),
        (nn.Conv1d(4, 4, 3), "low-rank", 1, "type must be torch.nn.modules.linear.Linear, got type=Conv1d"),
    ],
)
def test_says_what_cannot_be_factored(layer, form, ranks, said):
    with pytest.raises(ValueError, match=said):
        factor(layer, form, ranks)


# --- the choice


def test_the_choice_keeps_to_the_budget_and_is_near_the_best():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        layers = []
        for _ in range(4):
            costs = torch.rand(5, generator=generator).sort(descending=True).values
            errors = torch.rand(5, generator=generator).sort().values
            stock = Choice(float(costs[0]) + 1, 0.0)
            layers.append([stock, *(Choice(float(c), float(e)) for c, e in zip(costs, errors, strict=True))])
        budget = 0.6 * sum(choices[0].cost for choices in layers)
        picked = choose(layers, budget)
        assert sum(choice.cost for choice in picked) <= budget
        tried = [p for p in itertools.product(*layers) if sum(c.cost for c in p) <= budget]
        best = min(sum(c.error**2 for c in p) for p in tried)
        # Off by no more than one step of one layer, whose squared error is at most 1.
        assert best <= sum(c.error**2 for c in picked) + 1e-12 <= best + 1


def test_a_budget_that_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match=r"budget must be at least 0\.500 .* got 0\.400"):
        choose([[Choice(10.0, 0.0), Choice(5.0, 0.5)]], 4.0)


# --- networks


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 36, 32),
    ).eval()


@pytest.mark.parametrize("cost", ["flops", "energy"])
def test_a_network_keeps_to_its_budget_and_tells(cost):
    model, x = net(), torch.randn(2, 3, 8, 8)
    before = copy.deepcopy(model.state_dict())
    small = gk.compress.factorize(model, x, budget=0.5, cost=cost)
    report = gk.compress.factorization(small)
    assert report.share <= 0.5
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        error = (small(x) - model(x)).norm() / model(x).norm()
    assert report.error == pytest.approx(float(error), rel=1e-4)
    for layer in report.layers:
        made = small.get_submodule(layer.name)
        assert isinstance(made, Factored) == (layer.form != "stock")
        assert (layer.output_error > 0) == (layer.form != "stock")
    assert "before retraining" in str(report)
    if cost == "flops":
        counted = gk.energy.estimate(small, x).tally().total.flops
        whole = gk.energy.estimate(model, x).tally().total.flops
        activations = whole - sum(layer.cost_before for layer in report.layers)
        assert counted == pytest.approx(sum(layer.cost for layer in report.layers) + activations)


def test_the_result_is_an_ordinary_network():
    small = gk.compress.factorize(net(), torch.randn(1, 3, 8, 8), budget=0.4)
    x = torch.randn(2, 3, 8, 8)
    want = small(x)
    for other in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        assert torch.equal(other(x), want)
        assert gk.compress.factorization(other) == gk.compress.factorization(small)
    again = copy.deepcopy(small)
    again.load_state_dict(small.state_dict())
    gk.compress.prune(small, 0.5)
    assert gk.compress.sparsity(small).share == pytest.approx(0.5, abs=0.01)
    small.train()(x).sum().backward()
    assert all(p.grad is not None for p in small.parameters())


def test_leaves_random_numbers_as_they_are():
    torch.manual_seed(3)
    want = torch.rand(1)
    model, x = net(), torch.zeros(1, 3, 8, 8)
    torch.manual_seed(3)
    gk.compress.factorize(model, x, budget=0.5)
    assert torch.equal(torch.rand(1), want)


def test_shared_layers_are_replaced_everywhere_and_count_for_each_call():
    layer = nn.Linear(32, 32)
    model = nn.Sequential(layer, nn.ReLU(), layer).eval()
    small = gk.compress.factorize(model, torch.randn(4, 32), budget=0.5)
    assert small[0] is small[2]
    (row,) = gk.compress.factorization(small).layers
    assert row.cost_before == 2 * gk.energy.estimate(layer, torch.randn(4, 32)).tally().total.flops


def test_a_network_of_one_layer_and_layers_that_are_read_not_called():
    assert isinstance(
        gk.compress.factorize(nn.Linear(64, 64).eval(), torch.randn(2, 64), budget=0.5), Factored
    )
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    model = nn.Sequential(encoder, nn.Linear(16, 16)).eval()
    small = gk.compress.factorize(model, torch.randn(2, 3, 16), budget=0.6)
    assert [layer.name for layer in gk.compress.factorization(small).layers] == ["1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget": 0}, "budget must be above 0 and at most 1, got 0"),
        ({"budget": 0.001}, "budget must be at least"),
        ({"budget": 0.5, "cost": "time"}, "cost must be one of flops, energy, got 'time'"),
        ({"budget": 0.5, "forms": ["cp"]}, "forms must be among .*, got 'cp'"),
        ({"budget": 0.5, "layers": ["1"]}, "layers must be among 0, 2, 5, got '1'"),
    ],
)
def test_refuses_what_it_cannot_do(options, said):
    with pytest.raises(ValueError, match=said):
        gk.compress.factorize(net(), torch.randn(1, 3, 8, 8), **options)


def test_refuses_training_mode_and_reports_only_its_own():
    with pytest.raises(ValueError, match="factorize: the model must be in eval mode"):
        gk.compress.factorize(net().train(), torch.randn(1, 3, 8, 8), budget=0.5)
    with pytest.raises(ValueError, match="model must come from factorize, got a plain Sequential"):
        gk.compress.factorization(net())
