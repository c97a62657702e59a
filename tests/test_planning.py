"""gk.plan and gk.optimize with a made-up kernel on a synthetic clock: what is chosen, what stays, and why."""

import copy
import pickle
import random
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from greenkernels.measure import Clock
from greenkernels.planning import Plan, candidates, explain, optimize, plan, restore
from greenkernels.planning.candidates import Stem
from greenkernels.planning.candidates.winograd_conv2d import cold_start, effective_cut
from greenkernels.planning.fusion import FusedAway

STOCK_S = 0.010
COST_S = {2: 0.012, 4: 0.005, 6: 0.006}  # a call of the made-up kernel, by tile
ERROR = {2: 1e-7, 4: 1e-6, 6: 1e-3}  # what it adds to the output, relative


class SyntheticClock(Clock):
    """Stands still until a convolution works; noise of 1 % so that intervals are real."""

    def __init__(self):
        self.seconds, self.random = 0.0, random.Random(0)

    def now(self):
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds

    def work(self, seconds):
        self.seconds += seconds * self.random.lognormvariate(0, 0.01)


CLOCK = SyntheticClock()


class QuickConv2d(nn.Conv2d):
    """The made-up kernel: torch's convolution that claims to have taken COST_S, with a known error."""

    __module__ = "greenkernels.nn.quick"  # restore() gives back what comes from there

    @classmethod
    def from_module(cls, stock, tile, activation=None, activation_param=None):
        made = cls(
            stock.in_channels, stock.out_channels, 3, padding=stock.padding, bias=stock.bias is not None
        )
        made.weight, made.bias = stock.weight, stock.bias
        made.tile, made.activation = tile, activation
        return made.train(stock.training)

    def forward(self, x):
        # Few channels do not pay: the layer tests look for a loser.
        CLOCK.work(COST_S[self.tile] if self.in_channels >= 8 else 3 * STOCK_S)
        y = self._conv_forward(x, self.weight, self.bias) * (1 + ERROR[self.tile])
        return F.relu(y) if self.activation == "relu" else y

    def to_module(self):
        stock = nn.Conv2d(
            self.in_channels, self.out_channels, 3, padding=self.padding, bias=self.bias is not None
        )
        stock.weight, stock.bias = self.weight, self.bias
        return stock if self.activation is None else nn.Sequential(stock, nn.ReLU())


STEM = Stem(
    name="quick",
    replaces=nn.Conv2d,
    lossy=False,
    activations=frozenset(("relu",)),
    refuses=lambda m: None if (m.kernel_size, m.stride) == ((3, 3), (1, 1)) else f"stride={m.stride}",
    options=lambda m: [{"tile": tile} for tile in (2, 4, 6)],
    build=lambda m, options, act: QuickConv2d.from_module(m, **options, activation=act.kind if act else None),
    extra_bytes=lambda m, options: 0,
    cold_start=lambda m, shapes: {"tile": 4} if m.in_channels >= 8 else "too few channels",
)


@pytest.fixture(autouse=True)
def quick_kernel(monkeypatch):
    """Only the made-up kernel is registered, and torch's convolution takes STOCK_S."""
    monkeypatch.setattr(candidates, "registered", lambda: (STEM,))
    monkeypatch.setitem(sys.modules, QuickConv2d.__module__, sys.modules[__name__])  # pickle looks there
    forward = nn.Conv2d.forward

    def slow_forward(self, x):
        CLOCK.work(STOCK_S)
        return forward(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", slow_forward)


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


def conv(in_c, out_c, **options):
    return nn.Conv2d(in_c, out_c, 3, **({"padding": 1} | options))


X = torch.randn(1, 8, 9, 11, generator=torch.Generator().manual_seed(1))
OPTIONS = {"clock": CLOCK, "progress": False}


def why(model, x=X, **options):
    """Layer name -> kernel, and layer name -> why it stays."""
    made = plan(model, x, **OPTIONS, **options)
    return {la.names[0]: la.kernel for la in made.layers}, {la.names[0]: la.reason for la in made.layers}


# --- what is replaced


def test_replaces_winners_only():
    model = net(conv(8, 4), conv(4, 8), conv(8, 8))
    kernels, reasons = why(model)
    assert kernels == {"0": "quick tile=4", "1": "stock", "2": "quick tile=4"}
    assert "slower" in reasons["1"]


def test_the_whole_network_wins_and_computes_the_same():
    model = net(conv(8, 8), nn.ReLU(), conv(8, 8))
    fast = optimize(model, X, **OPTIONS)
    verdict = explain(fast).network
    assert explain(fast).accepted
    assert verdict.speedup.low > 1.5  # 20 ms against 10
    assert 0 < verdict.error <= 1e-5
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), model(X), rtol=1e-4, atol=1e-6)


def test_a_kernel_that_does_nothing_for_speed_replaces_nothing(monkeypatch):
    monkeypatch.setitem(COST_S, 4, STOCK_S)
    monkeypatch.setitem(COST_S, 6, STOCK_S)
    made = plan(net(conv(8, 8)), X, **OPTIONS)
    assert not made.accepted
    assert made.replaced == []
    assert "no difference" in made.layers[0].reason


def test_stock_network_stays_where_the_whole_does_not_win():
    class Suspicious(nn.Module):
        """Takes its time as soon as something in it was replaced."""

        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, x):
            if type(self.conv) is not nn.Conv2d:
                CLOCK.work(0.1)
            return self.conv(x)

    model = Suspicious().eval()
    made = plan(model, X, **OPTIONS)
    assert not made.accepted
    assert "kept the stock network" in made.reason
    assert "won here, but not in the whole network" in str(made)
    assert type(made.apply(model).conv) is nn.Conv2d


def test_backs_off_to_what_errs_less(monkeypatch):
    monkeypatch.setitem(COST_S, 6, 0.002)  # the fastest, but it errs by 1e-3
    kernels, _ = why(net(conv(8, 8), conv(8, 8)))
    assert set(kernels.values()) == {"quick tile=4"}
    kernels, _ = why(net(conv(8, 8), conv(8, 8)), max_error=1e-2)
    assert set(kernels.values()) == {"quick tile=6"}


def test_backs_off_layer_by_layer(monkeypatch):
    # One layer alone is allowed to err by 1.5e-6, three in a row err by 3e-6: at least one has to go back.
    made = plan(net(conv(8, 8), conv(8, 8), conv(8, 8)), X, max_error=1.5e-6, **OPTIONS)
    kept = [layer for layer in made.layers if layer.stem is None]
    assert made.accepted
    assert 1 <= len(kept) <= 2
    assert made.network.error <= 1.5e-6
    assert all("allowed 1.5e-06" in layer.reason for layer in kept)


def test_picks_the_memory_format(monkeypatch):
    plain = QuickConv2d.forward

    def likes_channels_last(self, x):
        if not x.is_contiguous(memory_format=torch.channels_last):
            CLOCK.work(0.003)
        return plain(self, x)

    monkeypatch.setattr(QuickConv2d, "forward", likes_channels_last)
    model = net(conv(8, 8), conv(8, 8))
    fast = optimize(model, X, **OPTIONS)
    assert explain(fast).memory_format == "channels_last"
    with torch.inference_mode():
        out = fast(X)
    assert out.is_contiguous()  # the caller gets the layout of the stock network
    assert not restore(fast)._forward_pre_hooks


def test_rules_without_a_clock():
    model = net(conv(8, 8), conv(8, 4), conv(4, 8))
    made = plan(model, X, measure=False, clock=None, progress=False)
    assert [layer.kernel for layer in made.layers] == ["quick tile=4", "quick tile=4", "stock"]
    assert made.layers[2].reason == "too few channels"
    assert not made.measured
    assert made.network.stock is None
    assert made.network.error <= made.max_error


def test_keyword_and_several_arguments():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, a, b):
            return self.conv(a) + b

    model = Two().eval()
    for inputs in ((X, X), {"a": X, "b": X}, [X, X]):
        assert plan(model, inputs, **OPTIONS).accepted
    with pytest.raises(ValueError, match="example_inputs must be a tensor, a tuple or a dict, got str"):
        plan(model, "x", **OPTIONS)


def test_network_that_is_one_layer():
    model = conv(8, 8).eval()
    fast = optimize(model, X, **OPTIONS)
    assert isinstance(fast, QuickConv2d)
    assert type(restore(fast)) is nn.Conv2d


# --- what is fused


def test_fuses_the_activation_that_surely_follows():
    fast = optimize(net(conv(8, 8), nn.ReLU(inplace=True), conv(8, 8)), X, **OPTIONS)
    assert fast[0].activation == "relu"
    assert isinstance(fast[1], FusedAway)
    assert fast[2].activation is None
    back = restore(fast)
    assert [type(m) for m in back] == [nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert back[1].inplace


def test_does_not_fuse_a_shared_activation():
    relu = nn.ReLU()
    fast = optimize(net(conv(8, 8), relu, conv(8, 8), relu), X, **OPTIONS)
    assert [m.activation for m in (fast[0], fast[2])] == [None, None]


def test_does_not_fuse_where_children_are_called_one_by_one():
    class Taps(nn.Module):
        """Reads what is between the layers, as perceptual losses do."""

        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(conv(8, 8), nn.ReLU())

        def forward(self, x):
            between = self.features[0](x)
            return self.features[1](between) + between

    model = Taps().eval()
    fast = optimize(model, X, **OPTIONS)
    assert fast.features[0].activation is None
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), model(X), rtol=1e-4, atol=1e-6)


def test_does_not_fuse_an_activation_with_hooks_or_in_another_container():
    model = net(conv(8, 8), nn.ReLU())
    model[1].register_forward_hook(lambda m, a, y: y + 1)
    assert optimize(model, X, **OPTIONS)[0].activation is None

    class Other(nn.Sequential):
        pass

    assert optimize(Other(conv(8, 8), nn.ReLU()).eval(), X, **OPTIONS)[0].activation is None


# --- what stays, and why


def test_strided_convolution_stays():
    assert "stride=(2, 2)" in why(net(conv(8, 8, stride=2), conv(8, 8)))[1]["0"]


def test_subclass_stays():
    class Mine(nn.Conv2d):
        pass

    model = net(Mine(8, 8, 3, padding=1), conv(8, 8))
    assert why(model)[1]["0"] == "Mine is a subclass, which may mean something else"


def test_computed_weights_stay():
    parametrized = nn.utils.parametrizations.weight_norm(conv(8, 8))
    pruned = prune.random_unstructured(conv(8, 8), "weight", 0.5)
    with pytest.warns(FutureWarning):
        old = nn.utils.weight_norm(conv(8, 8))
    model = net(parametrized, pruned, old, conv(8, 8))
    with torch.enable_grad():
        model(X)  # leaves non-leaf weights behind, which deepcopy refuses
    kernels, reasons = why(model)
    assert reasons["0"] == "weight is parametrized"
    assert "computed in a hook" in reasons["1"]
    assert "computed in a hook" in reasons["2"]
    assert kernels["3"] == "quick tile=4"


def test_hooked_and_unused_layers_stay():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.hooked, self.read = conv(8, 8), conv(8, 8), conv(8, 8)
            self.hooked.register_forward_hook(lambda m, a, y: None)

        def forward(self, x):
            return F.conv2d(self.hooked(self.used(x)), self.read.weight, padding=1)

    kernels, reasons = why(Unused().eval())
    assert kernels["used"] == "quick tile=4"
    assert "hooks" in reasons["hooked"]
    assert "never called" in reasons["read"]


def test_training_mode_is_refused():
    model = net(conv(8, 8), nn.Dropout())
    model[1].train()
    with pytest.raises(
        ValueError, match=r"plan: model must be in eval mode, got its module '1' in training mode"
    ):
        plan(model, X, **OPTIONS)
    made = plan(model.eval(), X, **OPTIONS)
    with pytest.raises(
        ValueError, match="apply: model must be in eval mode, got Sequential in training mode"
    ):
        made.apply(model.train())


def test_disabled_by_the_environment(monkeypatch):
    monkeypatch.setenv("GREENKERNELS_DISABLE", "1")
    assert why(net(conv(8, 8)))[1] == {"0": "GREENKERNELS_DISABLE is set"}


def test_bad_arguments():
    model = net(conv(8, 8))
    with pytest.raises(ValueError, match="objective must be one of latency, got 'speed'"):
        plan(model, X, objective="speed", **OPTIONS)
    with pytest.raises(ValueError, match="max_error must be positive, got 0"):
        plan(model, X, max_error=0, **OPTIONS)
    with pytest.raises(ValueError, match="precision must be 'float32' or a set"):
        plan(model, X, precision={"magic"}, **OPTIONS)


# --- layers in several places


def test_module_used_twice_stays_one_module():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = conv(8, 8)
            self.b = self.a

        def forward(self, x):
            return self.b(self.a(x)[..., 1:])

    model = Twice().eval()
    made = plan(model, X, **OPTIONS)
    assert made.layers[0].names == ("a", "b")
    assert made.layers[0].before.value == pytest.approx(2 * STOCK_S, rel=0.05)  # both calls
    fast = made.apply(model)
    assert fast.a is fast.b
    back = restore(fast)
    assert back.a is back.b
    assert type(back.a) is nn.Conv2d


def test_shared_weights_stay_shared():
    model = net(conv(8, 8), conv(8, 8))
    model[1].weight = model[0].weight
    fast = optimize(model, X, **OPTIONS)
    assert fast[0].weight is fast[1].weight
    assert list(fast.state_dict()) == list(model.state_dict())


# --- the caller's model and state


def test_leaves_model_and_global_state_alone():
    model = net(conv(8, 8), nn.ReLU(inplace=True), nn.BatchNorm2d(8), conv(8, 8))
    before, hooks = copy.deepcopy(model.state_dict()), [len(m._forward_pre_hooks) for m in model.modules()]
    modules, attributes = list(model.modules()), [sorted(m.__dict__) for m in model.modules()]
    x, seed, threads = X.clone(), torch.get_rng_state(), torch.get_num_threads()
    optimize(model, x, **OPTIONS)
    assert list(model.modules()) == modules
    assert [sorted(m.__dict__) for m in model.modules()] == attributes
    assert [len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(x, X)
    assert torch.equal(torch.get_rng_state(), seed)
    assert torch.get_num_threads() == threads
    assert not any(m.training for m in model.modules())


def test_works_within_inference_mode():
    with torch.inference_mode():
        fast = optimize(net(conv(8, 8)), X, **OPTIONS)
    assert isinstance(fast[0], QuickConv2d)


def test_inplace_converts_the_model_itself():
    model = net(conv(8, 8))
    made = plan(model, X, **OPTIONS)
    assert made.apply(model, inplace=True) is model
    assert isinstance(model[0], QuickConv2d)
    assert restore(model, inplace=True) is model
    assert type(model[0]) is nn.Conv2d


def test_apply_refuses_another_network():
    made = plan(net(conv(8, 8)), X, **OPTIONS)
    with pytest.raises(ValueError, match=r"apply: '0' must be the Conv2d\(8, 8.*got Conv2d\(8, 9"):
        made.apply(net(conv(8, 9)))
    with pytest.raises(ValueError, match="got nothing"):
        made.apply(net())


def test_ctrl_c_keeps_what_was_measured(monkeypatch):
    plain, calls = QuickConv2d.forward, []

    def interrupted(self, x):
        calls.append(1)
        if self.out_channels == 5 and len(calls) > 20:
            monkeypatch.setattr(QuickConv2d, "forward", plain)
            raise KeyboardInterrupt
        return plain(self, x)

    monkeypatch.setattr(QuickConv2d, "forward", interrupted)
    made = plan(net(conv(8, 8), conv(8, 5)), X, **OPTIONS)
    assert made.layers[0].kernel == "quick tile=4"
    assert made.layers[1].reason == "not measured: interrupted"
    assert "interrupted" in made.reason


# --- plans on paper


def test_plan_goes_through_a_file(tmp_path):
    model = net(conv(8, 8), nn.ReLU(), conv(8, 4, stride=2))
    made = plan(model, X, **OPTIONS)
    back = Plan.load(made.save(tmp_path / "plan.json"))
    assert str(back) == str(made)
    assert isinstance(back.apply(model)[0], QuickConv2d)
    for text in ("{}", "not json", '{"schema": 99}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json"):
            Plan.load(tmp_path / "bad.json")


def test_plan_prints_a_table():
    text = str(plan(net(conv(8, 8), nn.ReLU(), conv(8, 8, stride=2)), X, **OPTIONS))
    assert "quick tile=4 + relu" in text
    assert "stride=(2, 2)" in text
    assert "replaced 1 of 2 layers" in text


def test_explain_needs_a_converted_model():
    with pytest.raises(ValueError, match=r"explain: model must come from gk\.optimize"):
        explain(net(conv(8, 8)))


def test_converted_network_is_copied_and_pickled():
    fast = optimize(net(conv(8, 8), nn.ReLU()), X, **OPTIONS)
    for twin in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        with torch.inference_mode():
            assert torch.equal(twin(X), fast(X))
        assert str(explain(twin)) == str(explain(fast))


# --- Winograd's rules


def test_effective_cut_counts_the_waste_at_edges():
    assert effective_cut(4, 56, 56) == 4.0
    assert effective_cut(4, 7, 7) == pytest.approx(4 * 49 / 64)
    assert effective_cut(2, 14, 14) == 2.25


@pytest.mark.parametrize(
    ("in_c", "out_c", "size", "tile"),
    [(64, 64, 56, 4), (32, 48, 60, 6), (512, 512, 7, 4), (4, 64, 56, None), (64, 64, 1, None)],
)
def test_winograd_rules(in_c, out_c, size, tile):
    chosen = cold_start(nn.Conv2d(in_c, out_c, 3, padding=1), [torch.Size((1, in_c, size, size))])
    assert chosen == {"tile": tile} if tile else isinstance(chosen, str)
