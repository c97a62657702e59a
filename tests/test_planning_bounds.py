"""What gk.plan is asked for: objectives, bounds on the results, memory, time, strictness; and bad values of each."""

import math
from dataclasses import replace

import pytest
import torch
from quick_kernel import CLOCK, COST_S, OPTIONS, STEM, STOCK_S, QuickConv2d, X, conv, net, quick_kernel, why  # noqa: F401
from torch import nn

from greenkernels.measure.provenance import Kind, Measurement
from greenkernels.planning import Plan, candidates, optimize, plan

pytestmark = pytest.mark.usefixtures("quick_kernel")


# --- objectives


@pytest.fixture
def same_speed(monkeypatch, quick_kernel):  # noqa: F811
    """The made-up kernel is as fast as torch, with a third of the operations, each of which costs a nanojoule."""
    monkeypatch.setattr(
        "greenkernels.planning.joules.joules",
        lambda counts, time=None, **options: Measurement(1e-9 * counts.flops, "J", Kind.MODELLED),
    )
    for tile in COST_S:
        monkeypatch.setitem(COST_S, tile, STOCK_S)


@pytest.mark.usefixtures("same_speed")
@pytest.mark.parametrize(("objective", "replaced"), [("latency", 0), ("energy", 1), ("edp", 1)])
def test_energy_may_decide_where_time_does_not(objective, replaced):
    made = plan(net(conv(8, 8)), X, objective=objective, **OPTIONS)
    assert len(made.replaced) == replaced
    assert made.objective == objective
    facts = made.summary()
    assert (facts["replaced"], facts["won"]) == (replaced, False)  # not faster in any case


@pytest.mark.parametrize("objective", ["energy", "edp"])
def test_no_objective_accepts_a_slower_layer(objective):
    kernels, reasons = why(net(conv(8, 8), conv(8, 4), conv(4, 8)), objective=objective)
    assert kernels["2"] == "stock"  # a third of the operations, but three times the time
    assert "slower" in reasons["2"]


@pytest.mark.usefixtures("same_speed")
def test_no_objective_accepts_a_slower_network():
    class Suspicious(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, x):
            if type(self.conv) is not nn.Conv2d:
                CLOCK.work(0.1)
            return self.conv(x)

    made = plan(Suspicious().eval(), X, objective="energy", **OPTIONS)
    assert not made.accepted
    assert "it was not better" in made.reason


def test_joules_are_shown_with_their_kind():
    made = plan(net(conv(8, 8), nn.ReLU()), X, objective="edp", **OPTIONS)
    layer = made.layers[0]
    assert layer.energy_before.kind.value == layer.energy_after.kind.value == "modelled"
    assert layer.energy_after.value < layer.energy_before.value
    assert made.network.energy_after.value < made.network.energy_before.value
    assert "energy (modelled)" in str(made)
    facts = made.summary()
    assert facts["won"]
    assert facts["converted_j"] < facts["stock_j"]


def test_unknown_joules_replace_nothing_for_their_sake(monkeypatch):
    monkeypatch.setattr(candidates, "registered", lambda: (replace(STEM, counts=lambda m, shapes: None),))
    made = plan(net(conv(8, 8)), X, objective="energy", **OPTIONS)
    assert not made.accepted
    assert plan(net(conv(8, 8)), X, **OPTIONS).accepted


# --- bounds on the results


def test_metric_of_the_output_holds_the_plan_back():
    model = net(conv(8, 8))
    with torch.inference_mode():
        right = model(X)

    def closeness(y):
        return -float((y - right).norm() / right.norm())

    loose = {"max_error": math.inf, "precision": {"quick"}}
    kernels = {
        drop: why(model, metric=closeness, max_drop=drop, **loose)[0]["0"] for drop in (1e-2, 1e-5, 0.0)
    }
    assert kernels[1e-2] == kernels[1e-5] == "quick tile=4"
    assert kernels[0.0] == "stock"
    made = plan(model, X, metric=closeness, max_drop=1e-5, **loose, **OPTIONS)
    assert 0 < made.network.drop <= 1e-5
    assert "metric dropped by" in str(made)


def test_metric_of_the_model():
    seen = []

    def quality(model):
        seen.append(model)
        return 1.0 if type(model[0]) is nn.Conv2d else 0.5

    made = plan(net(conv(8, 8)), X, metric=quality, metric_of="model", max_drop=0.4, **OPTIONS)
    assert not made.accepted
    assert "metric would drop by 0.5, allowed 0.4" in made.layers[0].reason
    assert isinstance(seen[0], nn.Module)
    made = plan(net(conv(8, 8)), X, metric=quality, metric_of="model", max_drop=0.5, **OPTIONS)
    assert made.accepted


def test_a_metric_without_a_number_is_an_error_and_a_converted_one_a_drop():
    with pytest.raises(ValueError, match="metric must be finite for the stock network, got nan"):
        plan(net(conv(8, 8)), X, metric=lambda y: math.nan, **OPTIONS)
    made = plan(
        net(conv(8, 8)),
        X,
        metric=lambda model: 1.0 if type(model[0]) is nn.Conv2d else math.nan,
        metric_of="model",
        max_drop=100.0,
        **OPTIONS,
    )
    assert not made.accepted


def test_bounds_hold_on_calibration_inputs_too(monkeypatch):
    plain = QuickConv2d.forward

    def errs_on_large_values(self, x):
        y = plain(self, x)
        return y * 1.01 if float(x.max()) > 100 else y

    monkeypatch.setattr(QuickConv2d, "forward", errs_on_large_values)
    model = net(conv(8, 8))
    assert plan(model, X, **OPTIONS).accepted
    made = plan(model, X, calibration=(x for x in [X, 1000 * X]), **OPTIONS)
    assert not made.accepted
    assert "the network's error would be 1.0e-02" in made.layers[0].reason


# --- memory


@pytest.fixture
def heavy_kernel(monkeypatch, quick_kernel):  # noqa: F811
    """1000 bytes a tile width and layer, 100 bytes of scratch for all."""
    heavy = replace(STEM, extra_bytes=lambda m, o: 1000 * o["tile"], scratch_bytes=lambda m, o, shapes: 100)
    monkeypatch.setattr(candidates, "registered", lambda: (heavy,))


@pytest.mark.usefixtures("heavy_kernel")
@pytest.mark.parametrize(("max_memory", "replaced"), [(None, 2), (8100, 2), (8099, 1), (4100, 1), (0, 0)])
def test_keeps_within_memory(max_memory, replaced):
    made = plan(net(conv(8, 8), conv(8, 8)), X, max_memory=max_memory, **OPTIONS)
    facts = made.summary()
    assert facts["replaced"] == replaced
    assert max_memory is None or facts["extra_bytes"] + facts["scratch_bytes"] <= max_memory
    kept = [layer for layer in made.layers if layer.stem is None]
    assert all("bytes of memory, allowed" in layer.reason for layer in kept)


@pytest.mark.usefixtures("heavy_kernel")
def test_gives_back_where_a_byte_gains_least(monkeypatch):
    class Thrice(nn.Module):
        def __init__(self):
            super().__init__()
            self.once, self.often = conv(8, 8), conv(8, 8)

        def forward(self, x):
            return self.often(self.often(self.often(self.once(x))))

    kernels, _ = why(Thrice().eval(), max_memory=4100)
    assert kernels == {"once": "stock", "often": "quick tile=4"}


@pytest.mark.usefixtures("heavy_kernel")
def test_keeps_within_memory_without_a_clock():
    made = plan(net(conv(8, 8), conv(8, 8)), X, measure=False, max_memory=4100, **OPTIONS)
    assert len(made.replaced) == 1


# --- time, seed, strictness


@pytest.mark.parametrize("time_budget", [1.0, 3.0, 10.0])
def test_time_budget(time_budget):
    layers = [conv(8, 8, bias=bias) for bias in (True, False)] + [conv(8, n) for n in (9, 10, 11)]

    class Fan(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)

        def forward(self, x):
            return [layer(x) for layer in self.layers]

    begin = CLOCK.now()
    made = plan(Fan().eval(), X, time_budget=time_budget, **OPTIONS)
    # The fewest rounds of the whole network: 5 contenders, 3 calls, 3 rounds of 5 layers.
    assert CLOCK.now() - begin <= time_budget + 5 * 3 * 3 * 5 * 1.05 * STOCK_S
    skipped = [layer for layer in made.layers if "time budget of" in layer.reason]
    assert bool(skipped) == (time_budget < 10)


def test_seed_decides_what_the_network_draws():
    drawn = []

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, x):
            drawn.append(float(torch.rand(())))
            return self.conv(x)

    def first_drawn(seed):
        model = Noisy().eval()
        drawn.clear()
        state = torch.get_rng_state()
        plan(model, X, seed=seed, measure=False, **OPTIONS)
        assert torch.equal(torch.get_rng_state(), state)
        return drawn[0]

    assert first_drawn(1) == first_drawn(1) != first_drawn(2)


def test_strict_reaches_the_layers_and_the_file(tmp_path):
    made = plan(net(conv(8, 8)), X, strict=True, **OPTIONS)
    assert made.apply(net(conv(8, 8)))[0].strict
    assert Plan.load(made.save(tmp_path / "plan.json")).strict
    assert not getattr(optimize(net(conv(8, 8)), X, **OPTIONS)[0], "strict", False)


def test_strict_raises_what_else_would_be_a_reason(monkeypatch):
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(8, 8)

        def forward(self, x):
            if type(self.conv) is not nn.Conv2d:
                raise TypeError("no such convolution")
            return self.conv(x)

    made = plan(Picky().eval(), X, **OPTIONS)
    assert "no such convolution" in made.reason
    with pytest.raises(RuntimeError, match="no such convolution"):
        plan(Picky().eval(), X, strict=True, **OPTIONS)


def test_a_kernel_that_falls_back_is_thrown_out(monkeypatch):
    monkeypatch.setattr(QuickConv2d, "fallbacks", {"dtype=torch.float16": 1}, raising=False)
    made = plan(net(conv(8, 8)), X, **OPTIONS)
    assert not made.accepted
    assert "runs torch's own kernel: dtype=torch.float16" in made.layers[0].reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("objective", "speed"),
        ("max_error", 0),
        ("max_error", math.nan),
        ("max_error", "small"),
        ("metric", 3),
        ("metric_of", "weights"),
        ("max_drop", -1.0),
        ("max_drop", 0.1),
        ("calibration", X),
        ("calibration", [3]),
        ("calibration", 3),
        ("precision", 8),
        ("precision", "int3"),
        ("measure", "yes"),
        ("time_budget", 0),
        ("time_budget", "long"),
        ("max_memory", -1),
        ("strict", 1),
        ("seed", -1),
        ("seed", 0.5),
        ("cache", "no"),
    ],
)
def test_bad_values_name_the_argument(name, value):
    more = {"metric": lambda y: 0.0} if (name, value) == ("max_drop", -1.0) else {}
    with pytest.raises(ValueError, match=rf"plan: {name} "):
        plan(net(conv(8, 8)), X, **OPTIONS | more | {name: value})
