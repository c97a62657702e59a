"""The ``bench`` command: what it runs, what it leaves behind when interrupted, and how its table reads."""

import os
import signal
import sys
import threading
import time
import types

import pytest
import torch
from synthetic_clock import SyntheticClock, contender
from typer.testing import CliRunner

from greenkernels.cli import build_app
from greenkernels.measure import Contender, Kind, Measurement, Row, Run, Work, bench_command, bench_run
from greenkernels.measure import suite as suites
from greenkernels.measure.bench_table import table
from greenkernels.measure.selftest import RUNS, a_against_a, report
from greenkernels.measure.suite import Case, CaseUnavailable, Schedule, Trial, run_case


def row(case, name, ms, ours=False, **options):
    return Row("layers", case, name, ours, Measurement(ms / 1e3, "s", Kind.MEASURED), 1, **options)


def invoke(*arguments):
    return CliRunner().invoke(build_app(["bench"]), ["bench", *map(str, arguments)])


@pytest.fixture
def measured(monkeypatch):
    """Two cases that need no measuring; the list says which were asked for."""
    asked = []

    def measure(suite, case, threads, schedule, progress, peers, cold):
        asked.append((case.name, threads, cold))
        return [row(case.name, "torch", 2.0, cache="cold" if cold else "warm")]

    cases = [Case("one", prepare=None, quick=True), Case("two", prepare=None)]
    monkeypatch.setattr(bench_command, "load_suite", lambda name: cases)
    monkeypatch.setattr(bench_run, "run_case", measure)
    return asked


def test_runs_warm_and_cold(measured, tmp_path):
    result = invoke("layers", "--threads", "1", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert measured == [("one", 1, False), ("one", 1, True), ("two", 1, False), ("two", 1, True)]
    (path,) = tmp_path.glob("layers-*.json")
    assert not Run.load(path).partial


def test_quick_is_warm_and_small(measured, tmp_path):
    assert invoke("layers", "--quick", "--threads", "1", "--out", tmp_path).exit_code == 0
    assert measured == [("one", 1, False)]


def test_interrupted_run_keeps_its_rows_and_can_be_completed(measured, tmp_path, monkeypatch):
    whole = bench_run.run_case

    def interrupt(suite, case, *rest):
        if case.name == "two":
            raise KeyboardInterrupt
        return whole(suite, case, *rest)

    monkeypatch.setattr(bench_run, "run_case", interrupt)
    result = invoke("layers", "--threads", "1", "--cache", "warm", "--out", tmp_path)
    assert result.exit_code == 130
    (path,) = tmp_path.glob("layers-*.json")
    assert Run.load(path).partial
    assert [r.case for r in Run.load(path).rows] == ["one"]

    monkeypatch.setattr(bench_run, "run_case", whole)
    assert invoke("--resume", path, "--threads", "1", "--cache", "warm").exit_code == 0
    assert measured == [("one", 1, False), ("two", 1, False)]
    assert not Run.load(path).partial
    assert [r.case for r in Run.load(path).rows] == ["one", "two"]

    result = invoke("--resume", path)
    assert result.exit_code == 1
    assert "must be an interrupted run" in result.output


def test_killed_run_keeps_its_rows(measured, tmp_path, monkeypatch):
    whole = bench_run.run_case

    def kill(suite, case, *rest):
        if case.name == "two":
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)
            except Exception:  # as turns do, which go on whatever a contender raises
                pytest.fail("it was no contender that failed")
        return whole(suite, case, *rest)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(bench_run, "run_case", kill)
    result = invoke("layers", "--threads", "1", "--cache", "warm", "--out", tmp_path)
    assert result.exit_code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    (path,) = tmp_path.glob("layers-*.json")
    assert Run.load(path).partial
    assert [r.case for r in Run.load(path).rows] == ["one"]
    assert f"interrupted; the rest: greenkernels bench --resume {path}" in result.output


def test_rows_are_in_the_file_before_the_run_ends(measured, tmp_path, monkeypatch):
    whole, seen = bench_run.run_case, []

    def look(suite, case, *rest):
        seen.append([len(Run.load(path).rows) for path in tmp_path.glob("layers-*.json")])
        return whole(suite, case, *rest)

    monkeypatch.setattr(bench_run, "run_case", look)
    monkeypatch.setattr(bench_run, "SAVE_EVERY_S", 0.0)
    assert invoke("layers", "--threads", "1", "--cache", "warm", "--out", tmp_path).exit_code == 0
    assert seen == [[], [1]]


def test_processes_are_told_to_stop_and_waited_for(measured, tmp_path, monkeypatch):
    program = tmp_path / "program"
    lines = ("#!/bin/sh", f"trap 'echo kept > {tmp_path}/rows; exit 143' TERM", f"touch {tmp_path}/on")
    program.write_text("\n".join([*lines, "sleep 9 & wait", ""]))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    def terminate():
        while not (tmp_path / "on").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    helper = threading.Thread(target=terminate)
    helper.start()
    result = invoke("layers", "--threads", "1", "--processes", "2", "--out", tmp_path)
    helper.join()
    assert result.exit_code == 128 + signal.SIGTERM
    assert (tmp_path / "rows").read_text() == "kept\n"


def test_cases_can_be_picked(measured, tmp_path):
    assert (
        invoke("layers", "--case", "tw", "--cache", "warm", "--threads", "1", "--out", tmp_path).exit_code
        == 0
    )
    assert measured == [("two", 1, False)]
    result = invoke("layers", "--case", "three")
    assert result.exit_code == 1
    assert "--case must be a part of one, two, got 'three'" in result.output


def test_sweeps_are_thinned_where_nothing_is_named(measured, tmp_path, monkeypatch):
    cases = [Case("one", prepare=None), Case("two", prepare=None, sweep=True, caches=("warm",))]
    monkeypatch.setattr(bench_command, "suite_names", lambda: ["layers"])
    monkeypatch.setattr(bench_command, "load_suite", lambda name: cases)

    def names(*options):
        measured.clear()
        result = invoke("--threads", "1", "--out", tmp_path, *options)
        assert result.exit_code == 0, result.output
        return result.output, [(name, cold) for name, _, cold in measured]

    output, found = names()
    assert found == [("one", False), ("one", True)]
    assert "left out: 1 cases of sweeps; --all measures them" in output
    everything = [
        ("one", False),
        ("one", True),
        ("two", False),
    ]  # nobody can rotate over copies in the second
    assert names("--all")[1] == names("layers")[1] == everything
    assert names("--case", "two")[1] == [("two", False)]


def test_run_ends_when_its_time_is_up(measured, tmp_path, monkeypatch):
    class ShortPace(bench_run.Pace):
        up = property(lambda self: self.jobs <= 2)  # of four

    monkeypatch.setattr(bench_run, "Pace", ShortPace)
    result = invoke("layers", "--threads", "1", "--out", tmp_path, "--minutes", 1)
    assert result.exit_code == 0, result.output
    assert measured == [("one", 1, False), ("one", 1, True)]
    (path,) = tmp_path.glob("layers-*.json")
    assert Run.load(path).partial
    assert f"the time is up; the rest: greenkernels bench --resume {path}" in result.output


def test_unknown_cache_is_refused(measured):
    result = invoke("layers", "--cache", "lukewarm")
    assert result.exit_code == 1
    assert "--cache must be one of warm, cold, both, got 'lukewarm'" in result.output


def test_table_has_cold_first_and_losers_and_shares():
    fma = {"fma": Measurement(100e9, "op/s", Kind.MEASURED)}
    rows = [
        row("a", "torch", 2.0, ceilings=fma, work=Work(flops=1e8), version="2.13", flags="mkldnn"),
        row("a", "ours", 4.0, ours=True),
        row("a", "torch", 3.0, cache="cold"),
        Row("layers", "a", "ncnn", False, None, 1, thrown_out="not in the run: not installed"),
    ]
    lines = table(rows).splitlines()[2:]
    assert ["cold" in line for line in lines] == [True, False, False, False]
    assert "torch 2.13 (mkldnn)" in lines[1]
    assert "50 %" in lines[1]
    assert "0.50x" in lines[2]
    assert "not installed" in lines[3]


def test_score_per_joule_is_the_last_column():
    rows = [row("case", "a", 2.0), row("case", "b", 1.0, ours=True)]
    each = Measurement(123.4, "1/J", Kind.MODELLED, 100.0, 150.0)
    for one in rows:
        one.extra |= {"per_joule_of": "PSNR dB", "per_joule": {"b": each.to_json()}}
    lines = table(rows).splitlines()
    assert lines[0].endswith("PSNR dB / J")
    assert [line.split()[-1] for line in lines[2:]] == ["123", "-"]


# --- rivals


def test_rivals_take_part_and_absent_ones_say_why(monkeypatch):
    clock = SyntheticClock()
    module = types.ModuleType("greenkernels.measure.rivals")
    module.contenders = lambda task: (
        [Contender("rival", lambda x: 2 * x, version=task)],
        {"absent": "not installed: pip install absent"},
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("greenkernels.measure.rivals", module, raising=False)
    monkeypatch.setattr(suites, "ceilings", dict)

    def prepare():
        entries = [contender("torch", clock, 0.01, keep=True)]
        x = torch.arange(12.0)
        return Trial(entries, (x,), lambda x: 2 * x.double(), 1e-6, frozenset(), task="1.0")

    rows = run_case("s", Case("c", prepare), 1, Schedule(rounds=1, pause_s=0), peers=True)
    assert [(r.contender, r.version, r.thrown_out) for r in rows] == [
        ("torch", "", None),
        ("rival", "1.0", None),
        ("absent", "", "not in the run: not installed: pip install absent"),
    ]


# --- a layer against itself


def test_selftest_finds_no_difference_on_a_steady_clock():
    clock = SyntheticClock()

    def call(x):
        clock.work(0.001, noise=0.01)
        return 2 * x

    found = a_against_a(call, (torch.arange(12.0),), runs=RUNS, clock=clock)
    text, good = report(found)
    assert good
    assert f"of {RUNS} comparisons (at least 19 are needed)" in text


def test_case_that_cannot_be_had_is_left_out_with_its_reason(measured, tmp_path, monkeypatch):
    whole = bench_run.run_case

    def offline(suite, case, *rest):
        if case.name == "one":
            raise CaseUnavailable("its weights could not be fetched")
        return whole(suite, case, *rest)

    monkeypatch.setattr(bench_run, "run_case", offline)
    result = invoke("layers", "--threads", "1", "--cache", "warm", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "one was left out: its weights could not be fetched" in result.output
    (path,) = tmp_path.glob("layers-*.json")
    assert [r.case for r in Run.load(path).rows] == ["two"]
