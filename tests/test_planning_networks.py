"""Networks of all kinds with the real kernels, by rules: wrapped, sharded, half, with odd inputs, outputs and sizes."""

import warnings

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

import greenkernels as gk
from greenkernels.nn import WinogradConv2d
from greenkernels.planning.graph.rewriting import Rewritten

X = torch.randn(2, 16, 9, 11, generator=torch.Generator().manual_seed(1))
OPTIONS = {"measure": False, "progress": False, "cache": False}


class TwoWays(nn.Module):
    """Several inputs, one of them optional, and nested outputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 3)

    def forward(self, x, y, mask=None, *, scale: float = 1.0):
        x = F.relu(self.bn(self.conv(x)) + y)
        if mask is not None:
            x = x * mask
        return {"map": x * scale, "more": [self.head(x.mean((2, 3))), (x.shape[0], None)]}


def settled(model):
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def plain():
    torch.manual_seed(0)
    return settled(
        nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1))
    )


def same(mine, theirs, rtol=1e-4, atol=1e-5):
    torch.testing.assert_close(mine, theirs, rtol=rtol, atol=atol)


@pytest.fixture
def process_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
@pytest.mark.parametrize("convert_inside", [False, True])
def test_distributed_wrappers_go_around_the_converted_network(process_group, convert_inside):
    model = plain()
    wrapped = nn.parallel.DistributedDataParallel(model)
    with pytest.raises(
        ValueError, match=r"must not be wrapped, but it is a DistributedDataParallel; give its \.module"
    ):
        gk.plan(wrapped.eval(), X, **OPTIONS)
    fast = gk.optimize(wrapped.module if convert_inside else model, X, **OPTIONS)
    with torch.no_grad():
        same(nn.parallel.DistributedDataParallel(fast).eval()(X), model(X))


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
def test_a_sharded_network_is_refused(process_group):
    from torch.distributed.fsdp import fully_shard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
        sharded = fully_shard(plain(), mesh=mesh)
    with pytest.raises(ValueError, match="must be whole, but it is sharded by fully_shard"):
        gk.plan(sharded, X, **OPTIONS)


def test_several_inputs_and_nested_outputs():
    model = settled(TwoWays())
    fast = gk.optimize(model, (X, X), **OPTIONS)
    assert isinstance(fast, Rewritten)
    assert str(gk.explain(fast).layers[0].chain) == "norm + add + relu"
    mask = (X > 0).float()
    calls = [
        ((X, X), {}),
        ((X, X, mask), {}),
        ((X, X), {"scale": 0.5}),
        ((), {"x": X, "y": X}),
        ((X, X, None), {}),
    ]
    with torch.inference_mode():
        for args, kwargs in calls:
            same(fast(*args, **kwargs), model(*args, **kwargs))


def test_keyword_inputs_leave_forwards_alone():
    model = settled(TwoWays())
    fast = gk.optimize(model, {"x": X, "y": X}, **OPTIONS)
    assert type(fast) is TwoWays
    with torch.inference_mode():
        same(fast(x=X, y=X), model(x=X, y=X))


@pytest.mark.parametrize("size", [(1, 16, 3, 3), (5, 16, 17, 2), (3, 16, 40, 41), (0, 16, 9, 9)], ids=str)
def test_sizes_that_were_not_planned_for(size):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.block = plain(), TwoWays()

        def forward(self, x):
            return self.body(self.block(x, x)["map"])

    model = settled(Net())
    fast, x = gk.optimize(model, X, **OPTIONS), torch.randn(size)
    with torch.inference_mode():
        same(fast(x), model(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types(dtype):
    model = plain().to(dtype)
    fast = gk.optimize(model, X.to(dtype), max_error=0.1, **OPTIONS)
    assert gk.explain(fast).replaced
    with torch.inference_mode():
        # The stock network rounds between its layers, ours behind the activation alone.
        error = 1e-12 if dtype is torch.float64 else 4 * torch.finfo(dtype).eps
        exact = plain().double()(X.double())
        assert (fast(X.to(dtype)).double() - exact).norm() <= 4 * error * exact.norm()


def test_moved_to_another_type_after_conversion():
    model = plain()
    fast = gk.optimize(model, X, **OPTIONS).double()
    with torch.inference_mode():
        same(fast(X.double()), plain().double()(X.double()), rtol=1e-9, atol=1e-9)


def test_autocast():
    fast = gk.optimize(plain(), X, **OPTIONS)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        same(fast(X).float(), plain()(X).float(), rtol=0.1, atol=0.05)


def test_weight_norm_keeps_its_layer_and_no_other():
    model = plain()
    model[0] = nn.utils.parametrizations.weight_norm(model[0])
    made = gk.plan(model.eval(), X, **OPTIONS)
    assert made.layers[0].reason == "weight is parametrized"
    with torch.inference_mode():
        same(made.apply(model)(X), model(X))


def test_a_custom_batch_norm_or_convolution_stays():
    class Norm(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x) * 2

    model = settled(nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), Norm(16), nn.ReLU()))
    made = gk.plan(model, X, **OPTIONS)
    assert made.layers[0].kernel.startswith("winograd_conv2d")
    assert made.layers[0].chain is None
    with torch.inference_mode():
        same(made.apply(model)(X), model(X))


def test_a_norm_without_running_statistics_stays():
    model = nn.Sequential(
        nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16, track_running_stats=False), nn.ReLU()
    ).eval()
    made = gk.plan(model, X, **OPTIONS)
    assert made.layers[0].chain is None


def test_a_symbolically_traced_network():
    model = settled(nn.Sequential(plain(), nn.ReLU()))
    traced = torch.fx.symbolic_trace(model).eval()
    fast = gk.optimize(traced, X, **OPTIONS)
    with torch.inference_mode():
        same(fast(X), model(X))


def test_frozen_norms_train_with_the_rest():
    """Fine-tuning with batch norms in eval mode, as detectors do: the folded weight is differentiated."""
    model = plain()
    fast = gk.optimize(model, X, **OPTIONS)
    assert isinstance(fast[0], WinogradConv2d)
    for network in (model, fast):
        network(X).square().mean().backward()
    for mine, theirs in zip(fast.parameters(), model.parameters(), strict=True):
        same(mine.grad, theirs.grad, rtol=1e-3, atol=1e-4 * float(theirs.grad.abs().max()))


def test_parameters_are_shared_as_before():
    """`optimize` copies; the copy's layers and norms share what the stock ones share."""
    model = settled(nn.Sequential(TwoWays(), TwoWays()))[0]
    fast = gk.optimize(model, (X, X), **OPTIONS)
    assert len(list(fast.parameters())) == len(list(model.parameters()))
    assert list(fast.state_dict()) == list(model.state_dict())


def test_an_activation_behind_a_linear_layer_is_fused(monkeypatch):
    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.act, self.drop, self.fc2 = (
                nn.Linear(16, 64),
                nn.GELU(),
                nn.Dropout(),
                nn.Linear(64, 16),
            )

        def forward(self, x):
            return x + self.fc2(self.drop(self.act(self.fc1(x))))

    monkeypatch.setattr(
        "greenkernels.planning.candidates.strassen_gemm.cold_levels", lambda m, n, k, device: 1
    )
    model, x = Mlp().eval(), torch.randn(2, 5, 16)
    fast = gk.optimize(model, x, **OPTIONS)
    assert [str(layer.chain or "") for layer in gk.explain(fast).layers] == ["gelu", ""]
    with torch.inference_mode():
        same(fast(x), model(x))
        torch.testing.assert_close(
            fast.fc1(x), model.fc1(x), rtol=1e-4, atol=1e-5
        )  # alone, it is a linear layer
        torch.testing.assert_close(gk.restore(fast)(x), model(x))
    with pytest.raises(ValueError, match="norm must be None, got BatchNorm2d"):
        fast.fc1.follow(nn.BatchNorm2d(64))
