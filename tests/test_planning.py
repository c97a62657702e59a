"""gk.plan and gk.optimize with a made-up kernel on a synthetic clock: what is replaced, fused, and backed off from."""

from types import SimpleNamespace

import pytest
import torch
from quick_kernel import CLOCK, COST_S, OPTIONS, STOCK_S, QuickConv2d, X, conv, net, quick_kernel, why  # noqa: F401
from torch import nn

from greenkernels.planning import explain, optimize, plan, restore
from greenkernels.planning.candidates.winograd_conv2d import cold_start, effective_cut
from greenkernels.planning.fusion import FusedAway
from greenkernels.planning.layout import AS_GIVEN, CHANNELS_LAST, to_channels_last, worth_trying
from greenkernels.planning.objective import admissible
from greenkernels.planning.timing import LayerTimes

pytestmark = pytest.mark.usefixtures("quick_kernel")


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
    assert "was chosen for the layer alone, but the network as a whole is kept" in str(made)
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


def test_layers_without_a_memory_format_are_replaced_in_any():
    """As nn.Linear in a network whose maps are better in channels_last."""
    choice = SimpleNamespace(verdict="faster")
    times = LayerTimes(stock={AS_GIVEN: None}, choices={AS_GIVEN: [choice]})
    assert admissible(times, CHANNELS_LAST, "latency") == [choice]


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


@pytest.mark.parametrize("shape", [(2, 1, 4, 6), (1, 1, 5, 3), (3, 8, 1, 1), (2, 3, 4, 5)])
def test_strides_that_fit_both_formats_are_spelt_out(shape):
    x = torch.randn(shape)
    assert worth_trying(x)
    moved = to_channels_last(x)
    assert torch.equal(moved, x)
    assert not worth_trying(moved)
    weight = torch.randn(4, shape[1], 1, 1)
    assert nn.functional.conv2d(moved, weight).is_contiguous(memory_format=torch.channels_last)


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


def test_layers_alike_fuse_each_the_activation_behind_it():
    model = net(conv(8, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), conv(8, 8))
    fast = optimize(model, X, **OPTIONS)
    assert [type(m) for m in fast] == [QuickConv2d, FusedAway, QuickConv2d, FusedAway, QuickConv2d]
    assert repr(restore(fast)) == repr(model)


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
