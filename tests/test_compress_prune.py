"""gk.compress.prune: amounts, structures, importances against formulas, masks where torch has them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune as torch_prune

import greenkernels as gk
from greenkernels.compress.layers import mask_of, trained_weight
from greenkernels.compress.surgeon import Surgeon, blocks_of, from_blocks


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 20), nn.ReLU(), nn.Linear(20, 4)
    )


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def batches(count=3, size=5):
    return [(torch.randn(size, 1, 8, 8), torch.randint(4, (size,))) for _ in range(count)]


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.75, 1.0])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_prunes_the_amount_that_torch_prunes(amount, scope):
    model = net()
    other = copy.deepcopy(model)
    assert gk.compress.prune(model, amount, scope=scope) is model
    pairs = [(m, "weight") for m in other if hasattr(m, "weight")]
    if scope == "global":
        torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=amount)
    else:
        for module, _ in pairs:
            torch_prune.l1_unstructured(module, "weight", amount)
    for ours, theirs in zip(model, other, strict=True):
        if hasattr(theirs, "weight"):
            assert torch.equal(ours.weight_mask, theirs.weight_mask)
            assert torch.equal(ours.weight, theirs.weight)
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(model(x), other(x))


def test_what_is_pruned_stays_so_and_training_keeps_it():
    model = net()
    gk.compress.prune(model, 0.5)
    before = [mask_of(m) for m in model if hasattr(m, "weight")]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for batch in batches():
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()
    gk.compress.prune(model, 0.8)
    masks = [mask_of(m) for m in model if hasattr(m, "weight")]
    assert all(not (new & ~old).any() for new, old in zip(masks, before, strict=True))
    assert gk.compress.sparsity(model).share == pytest.approx(0.8, abs=1e-3)


def test_goes_on_from_what_torch_pruned():
    model = net()
    torch_prune.random_unstructured(model[3], "weight", 0.5)
    before = model[3].weight_mask.clone()
    gk.compress.prune(model, 0.7, layers=["3"])
    assert not (model[3].weight_mask.bool() & ~before.bool()).any()
    assert gk.compress.sparsity(model).layers[1].share == pytest.approx(0.7, abs=1e-3)
    assert not hasattr(model[0], "weight_mask")


def test_threshold_prunes_what_is_below_it():
    model = net()
    gk.compress.prune(model, threshold=0.05)
    for module in (model[0], model[3], model[5]):
        assert torch.equal(mask_of(module), trained_weight(module).abs() >= 0.05)


@pytest.mark.parametrize(("structure", "rows", "cols"), [("2x1", 2, 1), ("4x1", 4, 1), ("3x5", 3, 5)])
def test_blocks_are_kept_or_pruned_whole(structure, rows, cols):
    model = nn.Sequential(nn.Linear(33, 21))
    gk.compress.prune(model, 0.6, structure=structure)
    mask = mask_of(model[0])
    for i in range(0, 21, rows):
        for j in range(0, 33, cols):
            assert mask[i : i + rows, j : j + cols].float().mean() in (0, 1)
    # One block more or less than the amount.
    assert gk.compress.sparsity(model).share == pytest.approx(0.6, abs=rows * cols / (33 * 21))


def test_n_of_m_keeps_the_best_of_each_run():
    model = nn.Sequential(nn.Linear(10, 7))
    gk.compress.prune(model, structure="2:4")
    mask, weight = mask_of(model[0]), trained_weight(model[0]).abs()
    assert (mask[:, :4].sum(1) == 2).all()
    assert (mask[:, 4:8].sum(1) == 2).all()
    assert mask[:, 8:].all()  # the last run has only two
    kept, gone = weight[:, :4].masked_fill(~mask[:, :4], 9), weight[:, :4].masked_fill(mask[:, :4], 0)
    assert (kept.amin(1) >= gone.amax(1)).all()


def test_channels_go_whole_with_their_bias():
    model = net()
    gk.compress.prune(model, 0.5, structure="channels", scope="layer", layers=["0", "3"])
    for module, channels in ((model[0], 3), (model[3], 10)):
        rows = mask_of(module).flatten(1)
        assert (rows.all(1) | ~rows.any(1)).all()
        assert rows.any(1).sum() == channels
        assert torch.equal(module.bias != 0, rows.any(1))


@pytest.mark.parametrize("importance", ["gradient", "fisher"])
def test_scores_by_gradients_are_those_of_the_formula(importance):
    model, data = net(), batches()
    sizes = squares = 0
    for batch in data:
        model.zero_grad()
        loss(model, batch).backward()
        sizes, squares = sizes + model[3].weight.grad.abs(), squares + model[3].weight.grad.square()
    weight = model[3].weight.detach()
    score = weight.abs() * sizes if importance == "gradient" else weight.square() * squares / (2 * len(data))
    gk.compress.prune(model, 0.4, importance=importance, scope="layer", loss=loss, batches=data)
    mask = mask_of(model[3])
    assert score[~mask].max() <= score[mask].min() * (1 + 1e-4)
    assert (~mask).float().mean() == pytest.approx(0.4, abs=1e-3)


def test_gradients_that_cancel_out_still_count():
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0, 1.0]])
    # The first weight matters to both batches, one each way; the second a little to one.
    data = [torch.tensor([[3.0, 0.0]]), torch.tensor([[-3.0, 0.5]])]
    gk.compress.prune(model, 0.5, importance="gradient", loss=lambda m, x: m(x).sum(), batches=data)
    assert mask_of(model[0]).tolist() == [[True, False]]


def test_masked_weights_have_gradients_for_the_scores_but_stay_masked():
    model, data = net(), batches()
    gk.compress.prune(model, 0.5, importance="gradient", loss=loss, batches=data)
    gk.compress.prune(model, 0.6, importance="gradient", loss=loss, batches=data)
    assert gk.compress.sparsity(model).share == pytest.approx(0.6, abs=1e-3)


def test_importance_of_ones_own():
    model = nn.Sequential(nn.Linear(10, 10))
    wanted = torch.rand(10, 10)
    gk.compress.prune(model, 0.3, importance=lambda name, module: wanted)
    assert wanted[~mask_of(model[0])].max() < wanted[mask_of(model[0])].min()


# --- the surgeon


def test_surgeon_blocks_go_and_come_back():
    weight = torch.randn(3, 2, 3, 3)
    assert torch.equal(from_blocks(blocks_of(weight), weight.shape), weight)


def test_surgeon_inverts_the_damped_mean_of_squares():
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False)).double(), []
    data = [(x.double(), y) for x, y in batches(5)]
    surgeon = Surgeon(model, {"1": model[1]}, loss, data, damping=1e-3)
    hessian = 1e-3 * torch.eye(16, dtype=torch.float64)
    for batch in data:
        model.zero_grad()
        loss(model, batch).backward()
        g = model[1].weight.grad[1, 16:32]  # the sixth block
        hessian += torch.outer(g, g) / len(data)
    torch.testing.assert_close(surgeon.inverses["1"][5], torch.linalg.inv(hessian))


def test_surgeon_moves_the_rest_to_the_least_loss():
    """On a quadratic loss with the Hessian that it takes, no other weights of the same zeros do better."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False)).double()
    data = [(x.double(), y) for x, y in batches(20)]
    before = model[1].weight.detach().clone()
    surgeon = Surgeon(model, {"1": model[1]}, loss, data, damping=1e-2)
    mask = torch.rand(4, 64) < 0.5
    surgeon.update({"1": mask})
    after = model[1].weight.detach()
    assert (after[~mask] == 0).all()
    hessians = torch.linalg.inv(surgeon.inverses["1"])
    slope = (hessians @ (blocks_of(after) - blocks_of(before))[:, :, None])[:, :, 0]
    torch.testing.assert_close(slope * blocks_of(mask), torch.zeros_like(slope), rtol=0, atol=1e-9)


def test_surgeon_loses_less_than_magnitude():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(64, 1, bias=False)).double()
    mixing = torch.randn(64, 64, dtype=torch.float64)
    data = [torch.randn(8, 64, dtype=torch.float64) @ mixing for _ in range(200)]
    target = copy.deepcopy(model)

    def squared(model, x):  # its gradient is 0 at the start: the noise makes a Fisher information of it
        return (model(x) - target(x).detach() + torch.randn(8, 1, dtype=torch.float64)).square().mean()

    def lost(pruned):
        return sum((pruned(x) - target(x)).square().sum().item() for x in data)

    pruned = {
        importance: gk.compress.prune(
            copy.deepcopy(model), 0.3, importance=importance, loss=squared, batches=data
        )
        for importance in ("magnitude", "obs")
    }
    assert gk.compress.sparsity(pruned["obs"]).share == pytest.approx(0.3, abs=0.01)
    assert lost(pruned["obs"]) < lost(pruned["magnitude"])


# --- schedules


def test_schedules_say_when_and_how_much():
    assert [gk.compress.OneShot(0.5, 2).amount(s) for s in range(4)] == [None, None, 0.5, None]
    assert [gk.compress.Constant(0.5, 1, 2).amount(s) for s in range(5)] == [None, 0.5, None, 0.5, None]
    linear = gk.compress.Polynomial(0.8, begin=0, end=8, frequency=4)
    assert [linear.amount(s) for s in range(10)] == [0.0, *[None] * 3, 0.4, *[None] * 3, 0.8, None]
    cubic = gk.compress.Cubic(0.8, begin=0, end=10, frequency=5, initial=0.2)
    assert cubic.amount(5) == pytest.approx(0.8 - 0.6 / 8)
    assert cubic.amount(10) == 0.8


def test_pruner_follows_its_schedule_and_goes_on():
    model = net()
    pruner = gk.compress.Pruner(model, gk.compress.Cubic(0.9, end=4, frequency=2))
    seen = [pruner.step() for _ in range(3)]
    state = pruner.state_dict()
    again = gk.compress.Pruner(model, gk.compress.Cubic(0.9, end=4, frequency=2))
    again.load_state_dict(state)
    seen += [again.step() for _ in range(3)]
    assert [s is None for s in seen] == [False, True, False, True, False, True]
    assert gk.compress.sparsity(model).share == pytest.approx(0.9, abs=1e-3)


# --- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of amount and threshold must be given"),
        ({"amount": 0.5, "threshold": 0.1}, "one of amount and threshold must be given"),
        ({"amount": 1.5}, r"amount must be in \[0, 1\], got 1.5"),
        ({"amount": 0.5, "structure": "2:4"}, "amount and threshold must be None for N:M"),
        ({"amount": 0.5, "structure": "4:2"}, "structure must be unstructured, RxC"),
        ({"amount": 0.5, "scope": "all"}, "scope must be global or layer, got 'all'"),
        ({"amount": 0.5, "importance": "luck"}, "importance must be one of magnitude, gradient, fisher, obs"),
        ({"amount": 0.5, "importance": "fisher"}, "loss must be a function of model and batch"),
        ({"amount": 0.5, "importance": "obs", "loss": loss}, "batches must hold at least one batch"),
        ({"amount": 0.5, "layers": ["1"]}, "layers must be among 0, 3, 5, got '1'"),
    ],
)
def test_refuses_what_it_does_not_know(options, message):
    with pytest.raises(ValueError, match=message):
        gk.compress.prune(net(), **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gk.compress.OneShot(1.1), "target must be in"),
        (lambda: gk.compress.Constant(0.5, -1), "begin must be 0 or more"),
        (lambda: gk.compress.Constant(0.5, frequency=0), "frequency must be 1 or more"),
        (lambda: gk.compress.Cubic(0.5, begin=5, end=5), "end must be greater than begin=5"),
        (lambda: gk.compress.Cubic(0.5, initial=0.6), "initial must be in"),
        (
            lambda: gk.compress.Pruner(net(), gk.compress.OneShot(0.5), amount=0.3),
            "must come from the schedule",
        ),
    ],
)
def test_schedules_refuse_what_makes_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()
