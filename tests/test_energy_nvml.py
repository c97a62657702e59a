"""NVIDIA GPUs as a source: the real nvidia-ml-py on a scripted driver."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator

import pytest
from fake_nvml import (
    ENERGY,
    FIELDS,
    GPU_IS_LOST,
    NOT_SUPPORTED,
    POWER,
    STATE,
    FakeGpus,
    compile_fake,
    install,
)

from greenkernels.energy import EnergyMeter, idle_power, measure, nvml, sources
from greenkernels.measure.provenance import Kind


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return ctypes.CDLL(str(compile_fake(tmp_path_factory.mktemp("nvml"))))


@pytest.fixture
def gpus(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], FakeGpus]]:
    monkeypatch.setattr(
        "torch.cuda.is_available", lambda: False
    )  # real GPUs, where there are some, are not meant
    yield lambda count=1: install(monkeypatch, library, count)
    nvml.session.cache_clear()


def metered(clock: FakeGpus, seconds: float, **options: object) -> EnergyMeter:
    with EnergyMeter(source="nvml", clock=clock, **options) as meter:
        clock.work(seconds, noise=0)
    return meter


@pytest.mark.parametrize("watch", [False, True])
@pytest.mark.parametrize("phase", [0.0, 0.013, 0.0999])  # of the window against the updates
def test_a_load_of_200_watts_is_measured(gpus, phase: float, watch: bool) -> None:
    clock = gpus()
    clock.work(phase)
    # Unwatched, two readings may err by an update of 0.1 s together: 0.5 % need 20 s of it.
    seconds = 5.0 if watch else 20.0
    meter = metered(clock, seconds, watch=watch)
    assert meter.energy_j.kind is Kind.MEASURED
    assert meter.energy_j.value == pytest.approx(200 * seconds, rel=0.005)
    assert meter.energy_j.low <= 200 * seconds <= meter.energy_j.high
    assert meter.source == "nvml"
    assert meter.power_w.value == pytest.approx(200, rel=0.005)


def test_measure_tells_joules_above_idle_and_all_that_the_gpu_says(gpus) -> None:
    clock = gpus()
    clock.watts(0, 50.0)  # while it idles

    def call() -> None:
        clock.watts(0, 200.0)
        clock.work(0.25, noise=0)
        clock.watts(0, 50.0)

    found = measure(call, min_seconds=5, trials=3, source="nvml", clock=clock)
    assert found.energy_j.value == pytest.approx(50.0, rel=0.005)
    assert found.idle_power_w.value == pytest.approx(50.0, rel=0.005)
    assert found.idle_subtracted_j.value == pytest.approx(37.5, rel=0.007)
    assert found.power_w.value == pytest.approx(200.0, rel=0.005)
    assert found.source == "nvml"
    assert found.calls >= 60
    assert found.time_s.value == pytest.approx(0.25)
    assert found.updates >= 45
    assert found.window_s.value >= 5.0 - 1e-9
    assert (found.clock_hz.value, found.temperature_c.value, found.throttled) == (1410e6, 61, ())
    assert found.devices[0][0].power_limit_w == 300.0


def test_a_short_window_is_refused_by_the_meter_and_extended_by_measure(gpus) -> None:
    clock = gpus()
    meter = metered(clock, 1.0)
    assert (meter.energy_j, meter.source) == (None, None)
    assert "changed 9 times in 1 s: windows of 2.2 s are needed" in meter.reason
    found = measure(lambda: clock.work(0.5, noise=0), min_seconds=1, trials=1, source="nvml", clock=clock)
    assert found.window_s.value >= 2.0
    assert found.energy_j.value == pytest.approx(100.0, rel=0.01)


def test_a_gpu_lost_in_the_middle_is_none_with_the_reason(gpus) -> None:
    clock = gpus(2)
    clock.at(7.0, lambda: clock.library.fake_error(1, ENERGY, GPU_IS_LOST))
    meter = metered(clock, 10.0)
    assert (meter.energy_j, meter.power_w, meter.source) == (None, None, None)
    assert "Fake GPU 1" in meter.reason
    assert "GPU is lost" in meter.reason
    first, second = meter.devices
    assert first.energy_j.value == pytest.approx(2000, rel=0.01)  # what the other one said is not lost
    assert second.energy_j is None


def test_a_gpu_that_comes_back_is_still_a_gap(gpus) -> None:
    clock = gpus()
    clock.at(7.0, lambda: clock.library.fake_error(0, ENERGY, GPU_IS_LOST))
    clock.at(8.0, lambda: clock.library.fake_error(0, ENERGY, 0))
    assert metered(clock, 10.0, watch=True).energy_j is None


def test_a_reset_in_the_middle_is_none_with_the_reason(gpus) -> None:
    clock = gpus()
    clock.at(8.0, lambda: clock.offset(0, -2000.0))
    meter = metered(clock, 5.0 + 5.0)
    assert meter.energy_j is None
    assert "its counter went back: it was reset" in meter.reason


def test_a_counter_that_stops_is_no_reading_and_not_0_joules(gpus) -> None:
    clock = gpus()
    meter = EnergyMeter(source="nvml", clock=clock)
    clock.watts(0, 0.0)
    with meter:
        clock.work(10.0, noise=0)
    assert meter.energy_j is None
    assert "its counter stood still for 10 s" in meter.reason


@pytest.mark.parametrize("why", ["not supported", "stuck"])
def test_without_a_counter_power_is_sampled(gpus, why: str) -> None:
    clock = gpus()
    if why == "stuck":
        clock.library.fake_stuck(0, 1)
    else:
        clock.library.fake_error(0, ENERGY, NOT_SUPPORTED)
    meter = EnergyMeter(source="nvml", clock=clock)
    with meter:
        clock.work(5.0, noise=0)
        clock.watts(0, 100.0)
        clock.work(5.0, noise=0)
    # The step falls between two samples 0.05 s apart, and half of that is given to the wrong side at most.
    assert meter.energy_j.value == pytest.approx(1500, abs=100 * 0.05)
    assert meter.devices[0].name.endswith("sampled power")


def test_a_power_that_is_an_average_over_a_second_needs_long_windows(gpus) -> None:
    clock = gpus()
    clock.library.fake_error(0, ENERGY, NOT_SUPPORTED)
    clock.library.fake_error(0, FIELDS, NOT_SUPPORTED)
    assert "windows of 22 s are needed" in metered(clock, 10.0).reason
    assert metered(clock, 22.0).energy_j.value == pytest.approx(4400, rel=0.005)


def test_neither_counter_nor_power_is_no_source(gpus) -> None:
    clock = gpus()
    for group in (ENERGY, FIELDS, POWER):
        clock.library.fake_error(0, group, NOT_SUPPORTED)
    assert "Not Supported" in sources(clock)["nvml"]
    with pytest.raises(RuntimeError, match="nvml cannot read here: NVML says"):
        EnergyMeter(source="nvml", clock=clock)


def test_what_a_gpu_does_not_tell_is_none(gpus) -> None:
    clock = gpus()
    clock.library.fake_error(0, STATE, NOT_SUPPORTED)
    (device,) = metered(clock, 20.0, watch=True).devices
    assert (device.clock_hz, device.temperature_c, device.power_limit_w, device.throttled) == (None,) * 4
    assert device.energy_j is not None


def test_throttling_is_told_in_words(gpus) -> None:
    clock = gpus()
    clock.library.fake_reasons(0, ctypes.c_ulonglong(0x4 | 0x40))  # power cap, and hardware thermal slowdown
    (device,) = metered(clock, 5.0, watch=True).devices
    assert device.throttled == ("power limit", "too hot")


def test_counter_and_power_that_disagree_are_told(gpus) -> None:
    clock = gpus()
    meter = EnergyMeter(source="nvml", clock=clock, watch=True)
    clock.library.fake_period(0, ctypes.c_double(0.1))
    with meter:
        for _ in range(10):  # 150 W on average; the looks, every 0.5 s, meet 200 W alone
            clock.watts(0, 200.0)
            clock.work(0.27, noise=0)
            clock.watts(0, 100.0)
            clock.work(0.24, noise=0)
    assert meter.energy_j is not None
    assert "its sensor of power" in meter.reason


def test_devices_add_up(gpus) -> None:
    clock = gpus(2)
    clock.watts(1, 100.0)
    meter = metered(clock, 20.0)
    assert meter.energy_j.value == pytest.approx(6000, rel=0.005)
    assert len(meter.devices) == 2


@pytest.mark.parametrize(
    ("visible", "names"),
    [("GPU-000000a1-fake", ["Fake GPU 1"]), ("GPU-000000a1, GPU-000000a0", ["Fake GPU 1", "Fake GPU 0"])],
)
def test_devices_are_found_by_uuid(
    gpus, monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]
) -> None:
    clock = gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [" ".join(device.name.split()[:3]) for device in nvml.devices(clock)] == names


def test_torch_says_which_devices_it_computes_on(gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = gpus(2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    properties = type("Properties", (), {"uuid": "000000a1-fake"})
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: properties)
    (device,) = nvml.devices(clock)
    assert device.name.startswith("Fake GPU 1")


@pytest.mark.parametrize(
    ("visible", "order", "message"),
    [
        ("0", "", "a number in CUDA's own order"),
        ("7", "PCI_BUS_ID", "names 7, and there are 2 GPUs"),
        ("GPU-0", "", "which is 2 of the GPUs here"),
        ("MIG-1", "", "which is 0 of the GPUs here"),
        ("", "", "no GPU is visible"),
    ],
)
def test_devices_that_cannot_be_told_are_refused(
    gpus, monkeypatch, visible: str, order: str, message: str
) -> None:
    clock = gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    assert message in sources(clock)["nvml"]


def test_numbers_in_the_order_of_the_bus_are_nvmls(gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    (device,) = nvml.devices(clock)
    assert device.name.startswith("Fake GPU 1")


def test_idle_power_is_a_window_without_work(gpus) -> None:
    clock = gpus()
    clock.watts(0, 60.0)
    assert idle_power(5, "nvml", clock).value == pytest.approx(60, rel=0.005)
    assert idle_power(5, "model", clock) is None


def test_a_failing_block_ends_the_watch(gpus) -> None:
    clock = gpus()
    meter = EnergyMeter(source="nvml", clock=clock, watch=True)
    with pytest.raises(KeyError), meter:
        raise KeyError
    assert clock.beats == []
    assert meter.reason == "the block raised KeyError"


def test_without_a_driver_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = pytest.importorskip("pynvml")

    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(pynvml, "CDLL", no_library)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    nvml.session.cache_clear()
    assert "NVML says: NVML Shared Library Not Found" in sources()["nvml"]


def test_without_nvidia_ml_py_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    nvml.session.cache_clear()
    assert sources()["nvml"] == "nvidia-ml-py is not installed: pip install 'greenkernels[nvidia]'"
