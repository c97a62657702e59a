"""Graph work: what follows a convolution in the forward of its module, whatever that forward looks like."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import greenkernels as gk
from greenkernels.nn import FoldedConv2d
from greenkernels.planning import Plan
from greenkernels.planning.graph.rewriting import Rewritten

X = torch.randn(2, 16, 9, 11, generator=torch.Generator().manual_seed(1))
OPTIONS = {"measure": False, "progress": False, "cache": False}


class Block(nn.Module):
    """A residual block as torchvision writes it: one activation for two places, and an addition in place."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


class OneConv(nn.Module):
    """A convolution, a batch norm, and what a function makes of it."""

    def __init__(self, after, **options):
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, **({"padding": 1} | options))
        self.bn, self.drop, self.same, self.scale = (
            nn.BatchNorm2d(16),
            nn.Dropout(),
            nn.Identity(),
            nn.Conv2d(16, 1, 1),
        )
        self.after = after

    def forward(self, x):
        return self.after(self, x)


def settled(model):
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1)
            nn.init.normal_(module.bias)
    return model.eval()


def planned(model, x=X, **options):
    """Layer -> kernel, and the converted network, checked against the stock one."""
    made = gk.plan(model, x, **OPTIONS, **options)
    fast = made.apply(model)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-4, atol=1e-5)
    return {layer.names[0]: layer.kernel for layer in made.layers}, fast


def behind(kernel):
    return kernel.partition(" + ")[2]


def test_residual_blocks_are_fused():
    model = settled(nn.Sequential(Block(), Block()))
    kernels, fast = planned(model)
    assert [behind(k) for k in kernels.values()] == ["norm + relu", "norm + add + relu"] * 2
    assert isinstance(fast[0], (Block, Rewritten))
    calls = []
    fast[0].bn1.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        fast(X)
    assert not calls  # folded away


def test_a_fused_network_keeps_its_state_and_comes_back():
    model = settled(nn.Sequential(nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), Block()))
    kernels, fast = planned(model)
    assert behind(kernels["0"]) == "norm + relu"
    assert list(fast.state_dict()) == list(model.state_dict())
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in fast.state_dict().items())
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        with torch.inference_mode():
            assert torch.equal(twin(X), fast(X))
    back = gk.restore(fast)
    assert [type(m) for m in back.modules()] == [type(m) for m in model.modules()]
    with torch.inference_mode():
        assert torch.equal(back(X), model(X))


def test_loads_a_stock_state():
    model, other = settled(nn.Sequential(Block())), settled(nn.Sequential(Block()))
    nn.init.normal_(other[0].bn2.weight)
    fast = planned(model)[1]
    fast.load_state_dict(other.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), other(X), rtol=1e-4, atol=1e-5)


def test_trains_as_the_stock_network_does():
    model = settled(nn.Sequential(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), Block()))
    fast, stock = planned(model)[1].train(), copy.deepcopy(model).train()
    for network in (fast, stock):
        network(X).square().mean().backward()
    for mine, theirs in zip(fast.parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(
            mine.grad, theirs.grad, rtol=1e-2, atol=1e-4 * float(theirs.grad.abs().max()) + 1e-6
        )
    fast.eval(), stock.eval()
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), stock(X), rtol=1e-3, atol=1e-4)


def test_calls_of_another_form_run_the_stock_forward():
    model = settled(Block())
    fast = planned(model)[1]
    with torch.inference_mode():
        torch.testing.assert_close(fast(x=X), model(X), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(fast(X[:1, :, :5]), model(X[:1, :, :5]), rtol=1e-4, atol=1e-5)


def test_compiles_and_exports_whole():
    fast = planned(settled(nn.Sequential(Block(), Block())))[1]
    with torch.inference_mode():
        compiled = torch.compile(fast, fullgraph=True, backend="aot_eager")(X)
        torch.testing.assert_close(compiled, fast(X), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        exported = torch.export.export(fast, (X,)).module()(X)
        torch.testing.assert_close(exported, fast(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("after", "fused"),
    [
        (lambda m, x: F.relu(m.bn(m.conv(x))), "norm + relu"),
        (lambda m, x: torch.relu(m.conv(x)), "relu"),
        (lambda m, x: m.bn(m.conv(x)).relu_() * 2, "norm + relu"),
        (lambda m, x: F.leaky_relu(m.bn(m.conv(x)), 0.2), "norm + leaky_relu"),
        (lambda m, x: F.silu(torch.add(x, m.bn(m.conv(x)))), "norm + add + silu"),
        (lambda m, x: F.relu(F.dropout(m.same(m.drop(m.bn(m.conv(x)))), 0.1, m.training)), "norm + relu"),
        (lambda m, x: m.conv(x).add(x), "add"),
        (lambda m, x: m.bn(F.relu(m.conv(x))), "relu"),
        (lambda m, x: F.gelu(m.bn(m.conv(x)), approximate="none"), "norm + gelu"),
    ],
    ids=range(9),
)
def test_functions_are_fused(after, fused):
    assert behind(planned(settled(OneConv(after)))[0]["conv"]) == fused


def between_is_used(m, x):
    y = m.conv(x)
    return m.bn(y) + y


def in_place_on_the_input(m, x):
    x = x * 1
    y = m.conv(x)
    x.relu_()
    return m.bn(y) + x


def branches_on_values(m, x):
    y = m.bn(m.conv(x))
    return F.relu(y) if y.sum() > -1e9 else y


def asks_for_the_type(m, x):
    return F.relu(m.bn(m.conv(x))) if isinstance(x, torch.Tensor) else x[0]


def keeps_a_value(m, x):
    m.kept = m.conv(x)
    return F.relu(m.kept)


@pytest.mark.parametrize(
    "after",
    [
        between_is_used,
        in_place_on_the_input,
        branches_on_values,
        asks_for_the_type,
        keeps_a_value,
        lambda m, x: m.conv(m.conv(x)),
        lambda m, x: m.conv(x) + m.scale(x),  # broadcast
        lambda m, x: m.conv(x) + 1,
        lambda m, x: F.gelu(m.conv(x), approximate="tanh"),
        lambda m, x: F.batch_norm(m.conv(x), m.bn.running_mean, m.bn.running_var),
    ],
)
def test_what_must_not_be_fused_is_not(after):
    model = settled(OneConv(after))
    kernels, fast = planned(model)
    assert behind(kernels["conv"]) == ""
    assert type(fast) is OneConv


def test_the_caller_s_tensor_is_still_written_to():
    """In a trace an addition in place makes a new tensor."""
    model = settled(OneConv(lambda m, x: m.conv(x) if x.requires_grad is None else x.__iadd__(m.conv(x))))
    x = X.clone()
    fast = gk.plan(model, X, **OPTIONS).apply(model)
    with torch.inference_mode():
        y = fast(x)
    assert torch.equal(x, y)


def test_blocks_within_an_untraceable_network_are_fused():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([Block(), Block()])

        def forward(self, x):
            for block in self.blocks:
                if x.abs().max() < 1e9:
                    x = block(x)
            return x

    kernels, fast = planned(settled(Branches()))
    assert {behind(k) for k in kernels.values()} == {"norm + relu", "norm + add + relu"}
    assert type(fast) is Branches


def test_of_two_convolutions_one_adds_the_other():
    kernels, _ = planned(
        settled(OneConv(lambda m, x: F.relu(m.bn(m.conv(x)) + m.same(m.scale(x).expand_as(x)))))
    )
    assert behind(kernels["conv"]) == "norm + add + relu"


def test_a_block_used_twice_is_fused_once():
    block = Block()
    kernels, fast = planned(settled(nn.Sequential(block, nn.ReLU(), block)))
    assert behind(kernels["0.conv2"]) == "norm + add + relu"
    assert fast[0] is fast[2]


def test_a_hook_keeps_its_module():
    model = settled(Block())
    model.bn2.register_forward_hook(lambda m, a, y: y * 2)
    kernels, _ = planned(model)
    assert behind(kernels["conv1"]) == "norm + relu"
    assert behind(kernels["conv2"]) == ""


def test_a_plan_with_chains_goes_through_a_file(tmp_path):
    model = settled(nn.Sequential(Block(), nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8)))
    made = gk.plan(model, X, **OPTIONS)
    loaded = Plan.load(made.save(tmp_path / "plan.json"))
    assert str(loaded) == str(made)
    with torch.inference_mode():
        assert torch.equal(loaded.apply(model)(X), made.apply(model)(X))
    model[0].forward = lambda x: x
    with pytest.raises(
        ValueError, match="apply: the forward of Block must be traceable as it was in planning"
    ):
        loaded.apply(model)


def test_layers_that_no_kernel_is_for_get_their_norm_folded():
    model = settled(nn.Sequential(nn.Conv2d(16, 16, 3, groups=2), nn.BatchNorm2d(16), nn.ReLU()))
    kernels, fast = planned(model)
    assert kernels["0"] == "folded_conv2d + norm + relu"
    assert isinstance(fast[0], FoldedConv2d)
    only = gk.plan(settled(nn.Sequential(nn.Conv2d(16, 16, 3, groups=2), nn.ReLU())), X, **OPTIONS)
    assert only.layers[0].stem is None  # nothing to fold, nothing to gain
