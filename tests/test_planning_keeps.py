"""What gk.plan leaves alone, and why: layers, the caller's model, torch's state; and plans on paper."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from quick_kernel import OPTIONS, STOCK_S, QuickConv2d, X, conv, net, quick_kernel, why  # noqa: F401
from torch import nn
from torch.nn.utils import prune

from greenkernels.planning import Plan, explain, optimize, plan, restore

pytestmark = pytest.mark.usefixtures("quick_kernel")


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
    assert why(net(conv(8, 8)))[1] == {"0": "GREENKERNELS_DISABLE=1"}


def test_bad_arguments():
    model = net(conv(8, 8))
    with pytest.raises(ValueError, match="objective must be one of latency, energy, edp, got 'speed'"):
        plan(model, X, objective="speed", **OPTIONS)
    with pytest.raises(ValueError, match="max_error must be positive, got 0"):
        plan(model, X, max_error=0, **OPTIONS)
    with pytest.raises(ValueError, match="precision must be 'float32', 'int8' or a set"):
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
    made = plan(net(conv(8, 8), conv(8, 8), conv(8, 5)), X, **OPTIONS)  # two alike come first
    assert made.layers[0].kernel == "quick tile=4"
    assert made.layers[2].reason == "not measured: interrupted"
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
