"""RAPL as a source: a powercap tree in a temporary folder, whose counters follow a synthetic clock."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from synthetic_clock import SyntheticClock

from greenkernels.energy import EnergyMeter, measure, powercap, sources

RANGE_UJ = 262_143_328_850  # of a counter of 32 bits in units of 61 uJ
UPDATE_S = 0.001


class Tree(SyntheticClock):
    """Zones that draw a constant power; their files are rewritten as time goes on, once a millisecond at most."""

    def __init__(self, sysfs: Path) -> None:
        self.root = sysfs / "class/powercap"
        self.zones: dict[Path, tuple[float, int]] = {}  # W, and uJ at time 0
        self.stuck = False
        super().__init__()

    def zone(self, name: str, label: str, watts: float, start_uj: int = 0) -> Path:
        path = self.root / name
        path.mkdir(parents=True)
        (path / "name").write_text(f"{label}\n")
        (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        self.zones[path] = watts, start_uj
        self.seconds = self.seconds  # writes the file
        return path

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name != "seconds" or self.stuck:
            return
        updates = int(value / UPDATE_S + 1e-9)
        for path, (watts, start) in self.zones.items():
            if path.exists():
                joules = watts * updates * UPDATE_S
                (path / "energy_uj").write_text(f"{(start + round(joules * 1e6)) % (RANGE_UJ + 1)}\n")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    found = Tree(tmp_path / "sys")
    monkeypatch.setenv("GREENKERNELS_POWERCAP", str(found.root))
    monkeypatch.setattr(powercap, "_periods", {})
    return found


def metered(clock: Tree, seconds: float, **options: object) -> EnergyMeter:
    with EnergyMeter(source="rapl", clock=clock, **options) as meter:
        clock.work(seconds, noise=0)
    return meter


def test_packages_and_their_memory_add_up_and_nothing_counts_twice(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 80.0)
    tree.zone("intel-rapl:0:0", "core", 60.0)
    tree.zone("intel-rapl:0:1", "dram", 10.0)
    tree.zone("intel-rapl:1", "package-1", 40.0)
    tree.zone("intel-rapl:2", "psys", 200.0)
    tree.zone("intel-rapl-mmio:0", "package-0", 80.0)
    meter = metered(tree, 5.0)
    assert meter.energy_j.value == pytest.approx(130.0 * 5.0, rel=0.005)
    assert [device.name for device in meter.devices] == ["package-0", "dram of package-0", "package-1"]
    assert meter.source == "rapl"


@pytest.mark.parametrize("watch", [False, True])
def test_a_wrap_in_the_window_costs_nothing(tree: Tree, watch: bool) -> None:
    tree.zone("intel-rapl:0", "package-0", 100.0, start_uj=RANGE_UJ - 250_000_000)  # wraps after 2.5 s
    meter = metered(tree, 5.0, watch=watch)
    # Two readings know the energy to an update of 1 ms; the register has one more value than its range says.
    assert meter.energy_j.value == pytest.approx(500.0, abs=100 * UPDATE_S + 1e-6)


def test_a_window_of_many_wraps_has_to_be_watched(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 500.0)  # wraps every 524 s
    assert "may have begun again more than once" in metered(tree, 1200.0).reason


def test_a_watch_undoes_every_wrap(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_energy_rapl.RANGE_UJ", 300_000_000)  # wraps every 3 s
    tree.zone("intel-rapl:0", "package-0", 100.0)
    (tree.root / "intel-rapl:0/max_energy_range_uj").write_text("300000000")
    assert metered(tree, 10.0, watch=True).energy_j.value == pytest.approx(1000.0, rel=0.005)


def test_a_package_that_is_taken_away_is_none_with_the_reason(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 80.0)
    other = tree.zone("intel-rapl:1", "package-1", 40.0)
    meter = EnergyMeter(source="rapl", clock=tree)
    with meter:
        tree.work(2.0, noise=0)
        shutil.rmtree(other)
        tree.work(3.0, noise=0)
    assert meter.energy_j is None
    assert "package-1: " in meter.reason
    assert "No such file or directory" in meter.reason


def test_a_file_for_root_alone_says_what_opens_it(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = tree.zone("intel-rapl:0", "package-0", 80.0)
    real = os.open

    def refuse(path, *arguments: int) -> int:  # root, as which tests may run, is refused nothing
        if str(path) == str(zone / "energy_uj"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    assert f"sudo chmod a+r {tree.root}/intel-rapl:*/energy_uj" in sources(tree)["rapl"]
    with pytest.raises(RuntimeError, match=r"rapl cannot read here: .*for root alone"):
        EnergyMeter(source="rapl", clock=tree)


def test_a_counter_that_stands_still_is_no_source(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 80.0)
    tree.stuck = True
    assert sources(tree)["rapl"] == "its counter of energy stood still for 1 s"


def test_no_tree_is_no_source(tree: Tree) -> None:
    assert "has no RAPL counters" in sources(tree)["rapl"]


def test_more_than_a_package_can_draw_is_a_reset(tree: Tree) -> None:
    zone = tree.zone("intel-rapl:0", "package-0", 80.0, start_uj=1_000_000_000)
    (zone / "constraint_0_max_power_uw").write_text("100000000")
    meter = EnergyMeter(source="rapl", clock=tree)
    with meter:
        tree.work(2.0, noise=0)
        tree.zones[zone] = 80.0, 0  # begins anew, far below its range
        tree.work(3.0, noise=0)
    assert meter.energy_j is None
    assert "is more than it can draw: its counter was reset" in meter.reason


def test_measure_tells_clock_temperature_limit_and_throttling(tree: Tree) -> None:
    zone = tree.zone("intel-rapl:0", "package-0", 80.0)
    system = tree.root.parent.parent
    files = {
        zone / "constraint_0_power_limit_uw": "95000000",
        system / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2000000",
        system / "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3000000",
        system / "devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "3",
        system / "class/thermal/thermal_zone0/type": "acpitz",
        system / "class/thermal/thermal_zone1/type": "x86_pkg_temp",
        system / "class/thermal/thermal_zone1/temp": "71000",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    count = system / "devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"

    def call() -> None:
        tree.work(0.5, noise=0)
        count.write_text(f"{3 + int(tree.seconds)}")

    found = measure(call, min_seconds=5, trials=2, source="rapl", clock=tree)
    assert found.energy_j.value == pytest.approx(40.0, rel=0.005)
    assert (found.clock_hz.value, found.temperature_c.value, found.throttled) == (2.5e9, 71.0, ("too hot",))
    assert found.devices[0][0].power_limit_w == 95.0
    assert found.updates >= 400  # the watch looks every 10 ms


def test_what_the_system_does_not_tell_is_none(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", 80.0)
    (device,) = metered(tree, 5.0, watch=True).devices
    assert (device.clock_hz, device.temperature_c, device.power_limit_w, device.throttled) == (None,) * 4


def test_no_thread_is_left_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path / "sys")
    tree.zone("intel-rapl:0", "package-0", 80.0)
    monkeypatch.setenv("GREENKERNELS_POWERCAP", str(tree.root))
    monkeypatch.setattr(powercap, "_periods", {str(tree.root / "intel-rapl:0"): UPDATE_S})
    before = threading.active_count()
    with EnergyMeter(source="rapl", watch=True):  # on the real clock
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    with EnergyMeter(source="rapl"):
        assert threading.active_count() == before
