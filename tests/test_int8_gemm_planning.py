"""int8_gemm in whole networks: taken where it is asked for and the bounds allow it, by rule, so nothing is timed."""

import pytest
import torch
from conv_cases import needs_kernels
from torch import nn

import greenkernels as gk
from greenkernels.nn import Int8Linear
from greenkernels.planning.candidates import int8_gemm as candidate

pytestmark = needs_kernels


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(96, 128), nn.ReLU(), nn.Linear(128, 64), nn.Linear(64, 10)).eval()


@pytest.fixture
def _vnni(monkeypatch):
    """The rule asks for the instructions; whether this CPU has them shall not decide the tests."""
    monkeypatch.setattr(torch.ops.greenkernels, "vnni", lambda: True)


def plan(network, **options):
    return gk.plan(network, torch.randn(16, 96), measure=False, progress=False, cache=False, **options)


def test_is_left_out_unless_asked_for(network):
    assert all(layer.stem != "int8_gemm" for layer in plan(network).layers)
    with pytest.raises(ValueError, match="precision must be 'float32', 'int8' or a set out of"):
        plan(network, precision="int4")


@pytest.mark.usefixtures("_vnni")
def test_replaces_layers_within_the_bound(network):
    made = plan(network, precision="int8", max_error=0.05)
    assert [layer.stem for layer in made.layers] == ["int8_gemm", "int8_gemm", None]
    assert "too few features" in made.layers[2].reason
    fast, x = made.apply(network), torch.randn(16, 96)
    assert isinstance(fast[0], Int8Linear)
    assert fast[0].activation == "relu"
    with torch.inference_mode():
        assert (fast(x) - network(x)).norm() <= 0.05 * network(x).norm()
    assert type(gk.restore(fast)[0]) is nn.Linear


@pytest.mark.usefixtures("_vnni")
def test_a_layer_that_errs_too_much_stays_and_says_so(network):
    made = plan(network, precision="int8", max_error=1e-6)
    assert not made.replaced
    assert "allowed 1.0e-06" in str(made)


@pytest.mark.usefixtures("_vnni")
def test_a_metric_bounds_it_too(network):
    made = plan(
        network, precision="int8", max_error=1.0, metric=lambda y: -y.abs().max().item() * 0, max_drop=0.0
    )
    assert made.replaced
    stays = plan(
        network, precision="int8", max_error=1.0, metric=lambda y: y.double().sum().item() * 1e9, max_drop=0.0
    )
    assert len(stays.replaced) < 2


def test_without_the_instructions_only_a_measurement_can_tell(network, monkeypatch):
    monkeypatch.setattr(torch.ops.greenkernels, "vnni", lambda: False)
    assert "only a measurement can tell" in candidate.cold_start(network[0], [torch.Size((16, 96))])


def test_refuses_what_the_module_refuses():
    assert "weight must be one of" in candidate.refuses(nn.Linear(4, 4, dtype=torch.float64))
    assert candidate.refuses(nn.Linear(4, 4)) is None


def test_memory_is_bounded(network):
    linear, shapes = network[0], [torch.Size((5, 96)), torch.Size((1000, 96))]
    assert candidate.extra_bytes(linear, {}) == Int8Linear.from_module(linear).packed.numel() + 8 * 128
    assert candidate.scratch_bytes(linear, {}, shapes) >= 1000 * 128
