"""Blocks of mobile networks in plans: what is taken on a synthetic clock, and what the converted network computes."""

import copy
import pickle

import pytest
import torch
from conv_cases import needs_kernels
from mobile_networks import InvertedResidual, MobileNetV2, TwoBranches, conv_norm, settled
from synthetic_clock import SyntheticClock
from torch import nn

import greenkernels as gk
from greenkernels.nn import DepthwiseConv2d, DirectConv2d
from greenkernels.nn.separable_chain import SeparableChain
from greenkernels.nn.separable_end import SeparableEnd
from greenkernels.planning import Plan, candidates
from greenkernels.planning.graph.rewriting import Rewritten

X = torch.randn(2, 16, 9, 11, generator=torch.Generator().manual_seed(1))
SMALL = ((1, 8, 1, 1), (6, 16, 2, 2), (4, 16, 1, 1))
LAYER_S, KERNEL_S = 0.010, 0.006  # a call of torch's convolution, and of a kernel for it


@pytest.fixture
def clock(monkeypatch):
    """Torch's convolution takes LAYER_S, a kernel KERNEL_S, a block of three layers what its attribute says."""
    clock = SyntheticClock(noise=0.01)
    clock.block_s = 2 * KERNEL_S
    stems = [candidates.named(n) for n in ("direct_conv2d", "depthwise_conv2d", "separable_conv2d")]
    monkeypatch.setattr(candidates, "registered", lambda: tuple(stems))

    def slower(owner, name, seconds):
        stock = getattr(owner, name)

        def call(self, *args, **kwargs):
            if not kwargs.get("block"):
                clock.work(seconds(self))
            return stock(self, *args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    slower(nn.Conv2d, "forward", lambda conv: LAYER_S)
    for kind in (DirectConv2d, DepthwiseConv2d):
        monkeypatch.setattr(kind, "forward", kind.forward)
        slower(kind, "forward", lambda conv: KERNEL_S)
    monkeypatch.setattr(SeparableEnd, "_run_block", SeparableEnd._run_block)
    slower(SeparableEnd, "_run_block", lambda end: clock.block_s * len(end._convs()) / 3)
    monkeypatch.setattr(
        SeparableChain, "is_one_call", lambda chain, x: False
    )  # this clock counts single blocks
    return clock


def optimized(model, clock, x=X, **options):
    fast = gk.optimize(model, x, clock=clock, progress=False, cache=False, **options)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-4)
    return fast


def ends(model):
    return [module for module in model.modules() if isinstance(module, SeparableEnd)]


@needs_kernels
def test_a_block_is_taken_where_it_wins(clock):
    model = settled(InvertedResidual(16, 16, 1, 4))
    fast = optimized(model, clock)
    layers = {layer.names[0]: layer for layer in gk.explain(fast).layers}
    assert [layer.stem for layer in layers.values()] == [
        "direct_conv2d",
        "depthwise_conv2d",
        "separable_conv2d",
    ]
    assert {layer.block for layer in layers.values()} == {("conv.0.0", "conv.1.0", "conv.2")}
    assert [layer.after is None for layer in layers.values()] == [True, True, False]
    assert layers["conv.2"].after.value == pytest.approx(clock.block_s, rel=0.1)
    assert "runs in the block that ends in conv.2" in layers["conv.1.0"].reason
    (end,) = ends(fast)
    assert end.kernel_size == (1, 1)
    assert isinstance(fast, InvertedResidual)
    assert isinstance(fast, Rewritten)


@needs_kernels
@pytest.mark.parametrize("objective", ["energy", "edp"])
def test_a_block_is_taken_for_its_joules(clock, objective):
    fast = optimized(settled(InvertedResidual(16, 16, 1, 4)), clock, objective=objective)
    assert len(ends(fast)) == 1
    layers = {layer.names[0]: layer for layer in gk.explain(fast).layers}
    before = sum(layer.energy_before.value for layer in layers.values())
    assert 0 < layers["conv.2"].energy_after.value < before


@needs_kernels
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("shortcut", [True, False])
def test_an_addition_belongs_to_one_of_two_branches(clock, shortcut, first):
    fast = optimized(settled(TwoBranches(shortcut, first)), clock)
    assert len(ends(fast)) == (1 if shortcut else 2)


@needs_kernels
def test_a_block_is_taken_where_its_layers_are_as_fast(clock):
    """It saves calls and memory that turns do not see."""
    clock.block_s = 3 * KERNEL_S
    assert len(ends(optimized(settled(InvertedResidual(16, 16, 1, 4)), clock))) == 1


@needs_kernels
@pytest.mark.parametrize("block_s", [4 * KERNEL_S, 0.1])
def test_a_block_is_not_taken_where_its_layers_are_faster(clock, block_s):
    clock.block_s = block_s
    fast = optimized(settled(InvertedResidual(16, 16, 1, 4)), clock)
    layers = {layer.names[0]: layer for layer in gk.explain(fast).layers}
    assert not ends(fast)
    assert all(layer.stem and not layer.block for layer in layers.values())
    assert "no block: separable_conv2d: " in layers["conv.1.0"].reason


@needs_kernels
def test_a_time_budget_leaves_blocks_alone(clock):
    made = gk.plan(
        settled(InvertedResidual(16, 16, 1, 4)), X, clock=clock, progress=False, cache=False, time_budget=1e-3
    )
    assert "no block: not measured: the time budget of 0.001 s was spent" in made.layers[1].reason


@needs_kernels
def test_without_a_clock_no_block_is_taken():
    made = gk.plan(settled(InvertedResidual(16, 16, 1, 4)), X, measure=False, progress=False, cache=False)
    assert not any(layer.block for layer in made.layers)


@needs_kernels
@pytest.mark.parametrize(
    "model", [MobileNetV2(SMALL, 8, 32, 10), InvertedResidual(3, 5, 2, 4)], ids=["network", "odd"]
)
def test_keeps_its_state_and_comes_back(clock, model, tmp_path):
    model, x = settled(model), torch.randn(1, 3, 33, 35, generator=torch.Generator().manual_seed(3))
    fast = optimized(model, clock, x)
    assert len(ends(fast)) == sum(isinstance(m, InvertedResidual) for m in model.modules())
    assert list(fast.state_dict()) == list(model.state_dict())
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert all(end._before[1] in set(twin.modules()) for end in ends(twin))
        with torch.inference_mode():
            assert torch.equal(twin(x), fast(x))
    back = gk.restore(fast)
    assert [type(m) for m in back.modules()] == [type(m) for m in model.modules()]
    assert list(back.state_dict()) == list(model.state_dict())
    loaded = Plan.load(gk.explain(fast).save(tmp_path / "plan.json"))
    assert str(loaded) == str(gk.explain(fast))
    gk.save(fast, tmp_path / "network.safetensors")
    filled = gk.load(settled(copy.deepcopy(model)), tmp_path / "network.safetensors")
    with torch.inference_mode():
        assert torch.equal(back(x), model(x))
        assert torch.equal(loaded.apply(model)(x), fast(x))
        assert torch.equal(filled(x), fast(x))


@needs_kernels
def test_follows_its_weights_and_norms(clock):
    model = settled(InvertedResidual(16, 16, 1, 4))
    fast = optimized(model, clock)
    other = settled(InvertedResidual(16, 16, 1, 4))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.25)
        other.conv[1][1].running_mean.add_(0.5)
    fast.load_state_dict(other.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), other(X), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        for network in (fast, other):
            network.conv[1][1].running_mean.add_(0.5)  # seen by its version alone
            network.conv[0][0].weight.mul_(0.5)
        torch.testing.assert_close(fast(X), other(X), rtol=1e-4, atol=1e-4)


@needs_kernels
def test_trains_and_runs_other_calls_as_the_stock_network_does(clock):
    model = settled(InvertedResidual(16, 16, 1, 4))
    fast, stock = optimized(model, clock), copy.deepcopy(model)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x=X), model(X), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(fast(X[:1, :, :5]), model(X[:1, :, :5]), rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        torch.testing.assert_close(fast(X), model(X), rtol=0.1, atol=0.1, check_dtype=False)
    for network in (fast, stock):
        network.eval()(X).square().mean().backward()  # layer by layer
        network.train()(X).square().mean().backward()
    for mine, theirs in zip(fast.parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(
            mine.grad, theirs.grad, rtol=1e-2, atol=1e-3 * float(theirs.grad.abs().max()) + 1e-6
        )
    fast.eval(), stock.eval()
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), stock(X), rtol=1e-3, atol=1e-3)


@needs_kernels
def test_compiles_and_exports(clock, monkeypatch):
    fast = optimized(settled(nn.Sequential(InvertedResidual(16, 16, 1, 4))), clock)
    monkeypatch.undo()  # a compiler sees no clock
    with torch.inference_mode():
        compiled = torch.compile(fast, fullgraph=True, backend="aot_eager")(X)
        torch.testing.assert_close(compiled, fast(X), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        exported = torch.export.export(fast, (X,)).module()(X)
        torch.testing.assert_close(exported, fast(X), rtol=1e-4, atol=1e-4)


@needs_kernels
def test_a_part_of_a_sequential_has_the_forward_of_its_class(clock):
    model = settled(nn.Sequential(conv_norm(16, 16, 3, 1, 16), conv_norm(16, 8)))
    fast = optimized(model, clock)
    assert isinstance(fast, Rewritten)
    with torch.inference_mode():
        torch.testing.assert_close(fast[:1](X), model[:1](X), rtol=1e-4, atol=1e-4)


@needs_kernels
def test_chains_of_other_layers_in_the_container_are_kept(clock):
    """A child whose forward becomes part of its container's has chains of its own."""

    class Stem(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
            self.depthwise, self.relu = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU()

        def forward(self, x):
            return self.relu(self.depthwise(torch.relu(self.norm(self.first(x)))))

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.project = Stem(), nn.Conv2d(16, 8, 1)

        def forward(self, x):
            return self.project(self.stem(x))

    fast = optimized(settled(Whole()), clock)
    kernels = {layer.names[0]: layer.kernel for layer in gk.explain(fast).layers}
    assert kernels["stem.first"] == "direct_conv2d + norm + relu"
    assert len(ends(fast)) == 1
    assert isinstance(fast, Rewritten)
    assert not isinstance(fast.stem, Rewritten)


@needs_kernels
def test_memory_and_errors_are_bounded(clock):
    model = settled(InvertedResidual(16, 16, 1, 4))
    made = gk.plan(model, X, clock=clock, progress=False, cache=False, max_memory=0)
    assert not made.replaced
    made = gk.plan(model, X, clock=clock, progress=False, cache=False, max_error=1e-12)
    assert not made.replaced


@needs_kernels
def test_counts_of_a_block_are_those_of_its_module(clock):
    model = settled(InvertedResidual(16, 16, 1, 4))
    (end,) = ends(optimized(model, clock))
    module = gk.nn.InvertedBottleneck.from_modules(model.conv, residual=True)
    assert end.counts(X.shape, X.shape) == module.counts(X.shape)
