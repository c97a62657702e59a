"""Joules of training: a loop of one's own, and the callbacks in stand-ins for Lightning and transformers."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from synthetic_clock import SyntheticClock
from torch import nn

from greenkernels.energy import TrainingMeter, backends, lightning_callback, trainer_callback
from greenkernels.energy.backends import Backend, Reading
from greenkernels.energy.tally import CountOperations, Tally
from greenkernels.measure.provenance import Kind, Measurement

LABELS = torch.tensor([0, 1])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SyntheticClock:
    """Of a machine that draws 100 W, by a counter."""

    class Window:
        needed_s = 0.0

        def start(self) -> None:
            pass

        def stop(self) -> None:
            pass

        def reading(self, time_s: Measurement) -> Reading:
            return Reading(Measurement(100 * time_s.value, "J", Kind.MEASURED))

    counter = Backend("scripted", 1, lambda clock: None, lambda request: Window())
    known = backends.registered()
    monkeypatch.setattr(backends, "registered", lambda: (counter, *known))
    return SyntheticClock()


def test_an_epoch_is_measured_and_a_step_gets_its_share(clock: SyntheticClock) -> None:
    meter = TrainingMeter(clock=clock)
    for steps in (4, 2):
        with meter:
            for _ in range(steps):
                clock.work(2.0, noise=0)
                meter.step()
    first, second = meter.epochs
    assert (first.energy_j.value, first.energy_j.kind, first.steps) == (800.0, Kind.MEASURED, 4)
    assert (first.step_j.value, first.step_j.kind) == (200.0, Kind.ATTRIBUTED)
    assert (second.energy_j.value, second.source) == (400.0, "scripted")
    assert meter.logs() == {"energy_measured/epoch_j": 400.0, "energy_measured/step_j": 200.0}


def test_a_failing_epoch_has_no_joules_but_a_reason(clock: SyntheticClock) -> None:
    meter = TrainingMeter(clock=clock)
    with pytest.raises(KeyError), meter:
        raise KeyError
    assert (meter.epochs[0].energy_j, meter.epochs[0].reason) == (None, "the block raised KeyError")
    assert meter.logs() == {}


def test_forward_backward_and_optimizer_are_modelled_without_a_counter() -> None:
    net = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, foreach=False)
    meter = TrainingMeter("horowitz-45nm", source="model")
    with meter:
        net(torch.ones(2, 8)).square().sum().backward()
        optimizer.step()
        meter.step()
    (epoch,) = meter.epochs
    assert epoch.reason == "without static power, for which horowitz-45nm has no figure"
    assert epoch.energy_j.kind is epoch.step_j.kind is Kind.MODELLED
    forward = 2 * 2 * 8 * 4 * (0.9 + 3.7) / 2 * 1e-12
    assert epoch.energy_j.value > 2 * forward  # the gradient of the weight is a product as large


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("foreach", [False, True])
def test_a_step_of_a_convolutional_network_is_counted_whole(optimizer: type, foreach: bool) -> None:
    net = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.GELU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 5), nn.Sigmoid()),
    )
    steps = optimizer(net.parameters(), lr=0.1, foreach=foreach)
    meter, images, labels = TrainingMeter(source="model"), torch.randn(2, 3, 12, 12), torch.tensor([1, 3])
    with meter:
        steps.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        steps.step()
        meter.step()
    assert "could not count" not in meter.epochs[0].reason
    assert meter.epochs[0].energy_j is not None


@pytest.mark.parametrize(
    ("function", "flops"),
    [
        (lambda x: torch.ops.aten.threshold_backward(x, x, 0), 6),
        (lambda x: torch.ops.aten.sigmoid_backward(x, x), 3 * 6),
        (lambda x: torch.ops.aten._log_softmax_backward_data(x, x, 1, torch.float32), 4 * 6),
        (lambda x: torch.ops.aten.nll_loss_forward(x, LABELS, None, 1, -100), 3 * 2),
        (lambda x: torch._foreach_add_([x, x], [x, x], alpha=2), 2 * 12),
        (lambda x: torch._foreach_addcmul([x], [x], [x], 0.5), 3 * 6),
    ],
)
def test_operations_of_training_by_hand(function, flops: int) -> None:
    tally, x = Tally(), torch.rand(2, 3)
    with CountOperations(tally.add):
        function(x)
    assert not tally.uncounted
    assert sum(counts.flops for counts in tally.work.values()) == flops


def test_in_lightning(clock: SyntheticClock, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lightning.pytorch")
    module.Callback = type("Callback", (), {})
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", module)
    callback, logged = lightning_callback(clock=clock), {}
    trained = SimpleNamespace(log=logged.__setitem__)
    assert isinstance(callback, module.Callback)
    callback.on_train_epoch_start(None, trained)
    for batch in range(5):
        clock.work(1.0, noise=0)
        callback.on_train_batch_end(None, trained, None, None, batch)
    callback.on_train_epoch_end(None, trained)
    assert logged == {"energy_measured/epoch_j": 500.0, "energy_measured/step_j": 100.0}
    callback.on_train_epoch_start(None, trained)
    callback.on_exception(None, trained, KeyboardInterrupt())
    assert len(callback.meter.epochs) == 2


def test_in_the_trainer_of_transformers(clock: SyntheticClock, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("transformers")
    module.TrainerCallback = type("TrainerCallback", (), {})
    monkeypatch.setitem(sys.modules, "transformers", module)
    callback, logs = trainer_callback(clock=clock), {"loss": 1.0}
    assert isinstance(callback, module.TrainerCallback)
    callback.on_log(None, None, None, logs=logs)
    assert logs == {"loss": 1.0}  # nothing is known yet
    callback.on_epoch_begin(None, None, None)
    clock.work(3.0, noise=0)
    callback.on_step_end(None, None, None)
    callback.on_train_end(None, None, None)  # in the middle of the epoch
    callback.on_log(None, None, None, logs=logs)
    assert logs == {"loss": 1.0, "energy_measured/epoch_j": 300.0, "energy_measured/step_j": 300.0}


@pytest.mark.parametrize(
    ("make", "missing", "extra"),
    [
        (lightning_callback, ("lightning", "lightning.pytorch", "pytorch_lightning"), "lightning"),
        (trainer_callback, ("transformers",), "transformers"),
    ],
)
def test_what_is_not_installed_says_how_to_get_it(
    make, missing: tuple[str, ...], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'greenkernels\[{extra}\]'"):
        make()
