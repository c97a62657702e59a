"""Fitting the energy table to a machine: the fit itself, a scripted machine, and one without a counter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from synthetic_clock import SyntheticClock
from typer.testing import CliRunner

from greenkernels import _build, cli
from greenkernels.energy import backends, calibrate, hardware, joules
from greenkernels.energy.backends import Backend, Reading
from greenkernels.energy.calibration import Load
from greenkernels.energy.counts import Counts
from greenkernels.energy.fit import non_negative_least_squares
from greenkernels.measure.provenance import Kind, Measurement

STATIC_W, FLOP_J, L2_J, DRAM_J = 50.0, 20e-12, 4e-12, 150e-12


def test_the_fit_finds_exact_costs() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(12, 4, generator=generator, dtype=torch.float64)
    x = torch.tensor([1.0, 0.0, 3.0, 2.0], dtype=torch.float64)
    found, residual = non_negative_least_squares(a.tolist(), (a @ x).tolist())
    assert found == pytest.approx(x.tolist(), abs=1e-12)
    assert residual < 1e-12


def test_the_fit_is_never_negative_and_the_best_such() -> None:
    # Unconstrained, the second unknown would be -1: without it, the best first is the mean.
    found, residual = non_negative_least_squares([[1, 0], [1, 1]], [2, 1])
    assert found == pytest.approx([1.5, 0.0])
    assert residual == pytest.approx((0.5 / 5) ** 0.5)


@pytest.mark.parametrize(
    ("rows", "targets", "message"),
    [([[1, 2]], [1], "at least as many measurements"), ([[1], [1]], [0, 0], "every measurement is 0")],
)
def test_the_fit_refuses(rows: list, targets: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        non_negative_least_squares(rows, targets)


class Machine(SyntheticClock):
    """Spends known joules on known loads, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.joules, self.fails = 0.0, False

    def spend(self, seconds: float, joules: float) -> None:
        self.advance(seconds)
        self.joules += joules

    def loads(self) -> list[Load]:
        return [
            Load("idle", None),
            Load("fma", lambda: self.spend(0.1, 1e11 * FLOP_J), operations=1e11),
            Load("L2", lambda: self.spend(0.1, 1e10 * L2_J), l2_bytes=1e10),
            Load("memory", lambda: self.spend(0.1, 1e9 * (L2_J + DRAM_J)), l2_bytes=1e9, dram_bytes=1e9),
        ]

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = self

        class Window:
            needed_s = 0.0

            def start(self) -> None:
                self.begin = machine.seconds, machine.joules

            def stop(self) -> None:
                self.end = machine.seconds, machine.joules

            def reading(self, time_s: Measurement) -> Reading:
                if machine.fails:
                    return Reading(None, "the device was lost")
                seconds, joules = (end - begin for begin, end in zip(self.begin, self.end, strict=True))
                return Reading(Measurement(STATIC_W * seconds + joules, "J", Kind.MEASURED))

        counter = Backend("scripted", 1, lambda clock: None, lambda request: Window())
        known = backends.registered()
        monkeypatch.setattr(backends, "registered", lambda: (counter, *known))


def test_finds_the_costs_of_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine()
    machine.install(monkeypatch)
    found = calibrate(clock=machine, micro_benchmarks=machine.loads(), trials=2)
    assert list(found.costs.values()) == pytest.approx([STATIC_W, FLOP_J, L2_J, DRAM_J])
    assert found.residual < 1e-9
    assert found.source == "scripted"
    assert found.rates["operation"].value == pytest.approx(1e12)
    assert found.rates["L2 byte"].value == pytest.approx(1e11)
    path = found.save(tmp_path / "mine.json", "mine")
    table = hardware(str(path))
    assert table.figures["static watt"].value == pytest.approx(STATIC_W)
    assert "fitted on this machine with scripted, residual 0.0%" in table.figures["DRAM byte"].citation
    assert table.figures["add float32"].value == pytest.approx(FLOP_J)
    assert not table.figures["add float32"].estimate
    assert table.figures["add int8"].estimate  # scaled, not fitted
    assert joules(Counts(10, 0, 0, 0), hardware=str(path)).value > 0


def test_a_counter_that_is_lost_ends_in_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    machine.install(monkeypatch)
    machine.fails = True
    found = calibrate(clock=machine, micro_benchmarks=machine.loads(), trials=2)
    assert (found.costs, found.residual, found.reason) == (None, None, "the device was lost")


def without_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    model = backends.choose("model")
    monkeypatch.setattr(backends, "registered", lambda: (model,))


def test_without_a_counter_it_measures_times_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_counters(monkeypatch)
    machine = Machine()
    found = calibrate(clock=machine, micro_benchmarks=machine.loads())
    assert (found.costs, found.source) == (None, None)
    assert "no counter of energy can be read, so times only" in found.reason
    assert set(found.rates) == {"operation", "L2 byte", "DRAM byte"}
    with pytest.raises(ValueError, match="there are no costs to save"):
        found.save(tmp_path / "mine.json", "mine")


def test_the_command_says_what_it_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not _build.ensure_loaded():
        pytest.skip("no compiled kernels")
    without_counters(monkeypatch)
    run = CliRunner().invoke
    app = cli.build_app(["calibrate"])
    result = run(app, ["calibrate", "--seconds", "0.1", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)["rates"]["operation"]["kind"] == "measured"
    result = run(app, ["calibrate", "--seconds", "0.1", "--out", str(tmp_path / "mine.json")])
    assert result.exit_code == 1
    assert "times only" in result.output
    assert not (tmp_path / "mine.json").exists()


def test_refuses_a_counter_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Backend("gpus", 1, lambda clock: None, lambda request: None, device="cuda")
    monkeypatch.setattr(backends, "registered", lambda: (gpus,))
    with pytest.raises(ValueError, match="its loads run on the processor, whose joules gpus does not count"):
        calibrate("gpus", SyntheticClock(), Machine().loads())


def test_refuses_a_table_file_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"there is no table nowhere\.json"):
        hardware("nowhere.json")
