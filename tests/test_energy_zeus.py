"""zeus as a source: its monitor replaced by a scripted one, which has the methods that are called."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
from synthetic_clock import SyntheticClock

from greenkernels.energy import EnergyMeter, sources
from greenkernels.energy.backends import zeus

JETSON = {"cpu_energy_mj": 3e3, "gpu_energy_mj": 5e3, "total_energy_mj": 12e3}
APPLE = {"cpu_total_mj": 4000, "gpu_mj": 3000, "dram_mj": 2000, "ane_mj": 0, "efficiency_cores_mj": [9, 9]}


class Monitor:
    """What zeus's monitor says of one window."""

    gpu_energy: dict[int, float] = {}  # noqa: RUF012
    chip: dict[str, object] | None = None
    lost = False

    def __init__(self, cpu_indices: list[int]) -> None:
        assert cpu_indices == []  # its RAPL would start a process
        self.gpu_indices, self.soc_is_present = list(self.gpu_energy), self.chip is not None
        self.open: set[str] = set()

    def begin_window(self, key: str) -> None:
        self.open.add(key)

    def end_window(self, key: str) -> SimpleNamespace:
        self.open.remove(key)
        if self.lost:
            raise RuntimeError("device lost")
        chip = None if self.chip is None else SimpleNamespace(**self.chip)
        return SimpleNamespace(gpu_energy=self.gpu_energy, soc_energy=chip)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    zeus.monitor.cache_clear()
    yield
    zeus.monitor.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, **script: object) -> None:
    package, module = ModuleType("zeus"), ModuleType("zeus.monitor")
    module.ZeusMonitor = type("Scripted", (Monitor,), script)
    monkeypatch.setitem(sys.modules, "zeus", package)
    monkeypatch.setitem(sys.modules, "zeus.monitor", module)
    monkeypatch.setattr(zeus.importlib.util, "find_spec", lambda name: package)


def metered(seconds: float = 5.0) -> EnergyMeter:
    clock = SyntheticClock()
    with EnergyMeter(source="zeus", clock=clock) as meter:
        clock.work(seconds, noise=0)
    return meter


@pytest.mark.parametrize(
    ("script", "joules"),
    [
        ({"gpu_energy": {0: 700.0, 1: 300.0}}, 1000.0),
        ({"chip": JETSON}, 12.0),
        ({"chip": APPLE}, 9.0),
        ({"gpu_energy": {0: 5.0}, "chip": JETSON}, 17.0),
    ],
)
def test_adds_up_what_zeus_says(monkeypatch: pytest.MonkeyPatch, script: dict, joules: float) -> None:
    install(monkeypatch, **script)
    meter = metered()
    assert meter.energy_j.value == pytest.approx(joules)
    assert (meter.source, meter.energy_j.kind.value) == ("zeus", "measured")


@pytest.mark.parametrize(
    ("script", "seconds", "reason"),
    [
        ({"gpu_energy": {0: 0.0}}, 5.0, "GPU 0: its counter stood still"),
        ({"gpu_energy": {0: 1.0}, "lost": True}, 5.0, "zeus says: device lost"),
        ({"gpu_energy": {0: 1.0}}, 4.0, "windows of 5 s are needed, got 4 s"),
        ({"chip": {"tops_mj": 3}}, 5.0, "chip: its parts do not add up to a whole"),
    ],
)
def test_what_says_nothing_is_none_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, script: dict, seconds: float, reason: str
) -> None:
    install(monkeypatch, **script)
    meter = metered(seconds)
    assert meter.energy_j is None
    assert reason in meter.reason


def test_without_hardware_it_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert sources()["zeus"] == "zeus finds no GPU and no chip that it can read"


def test_without_zeus_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeus.importlib.util, "find_spec", lambda name: None)
    assert sources()["zeus"] == "zeus is not installed: pip install 'greenkernels[zeus]'"
