"""``greenkernels bench --merge``: rows of many machines in one file, each measurement once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from bench_rows import case_rows, rich_rows, row, run_of
from typer.testing import CliRunner

from greenkernels.cli import build_app
from greenkernels.measure import Run
from greenkernels.measure.merged import MERGED, files_of, merge, runs_in
from greenkernels.report.__main__ import main as report
from greenkernels.report.cases import by_machine, load_runs

RESULTS = Path(__file__).resolve().parent.parent / "bench/results"


def invoke(*arguments):
    return CliRunner().invoke(build_app(["bench"]), ["bench", *map(str, arguments)])


def measured(day, cpu="Some CPU", **facts):
    """A run whose readings nobody else has."""
    rows = case_rows(2.0 + 0.001 * day, 1.0 + 0.001 * day)[:3]
    return run_of(rows, day, cpu=cpu, **facts)


@pytest.fixture
def files(tmp_path):
    """Two runs of one machine, one of another."""
    runs = {"a": measured(2), "b": measured(1), "c": measured(3, cpu="Other CPU")}
    return {name: run.save(tmp_path / f"{name}.json") for name, run in runs.items()}


def test_files_and_folders_become_one_file(files, tmp_path):
    folder = tmp_path / "folder"
    moved = files["c"].rename(folder.mkdir() or folder / "c.json")
    out = tmp_path / "out" / "merged.json"
    result = invoke("--merge", files["a"], files["b"], folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert (
        "Some CPU (family/model 6/1), 2 core(s): 2 run(s), 6 rows, 2026-01-01 to 2026-01-02" in result.output
    )
    assert "Other CPU (family/model 6/1), 2 core(s): 1 run(s), 3 rows" in result.output
    expected = [Run.load(path) for path in (files["b"], files["a"], moved)]
    assert runs_in(out) == load_runs(out) == expected  # oldest first
    assert not list(out.parent.glob(".*"))


def test_a_report_is_made_from_it(files, tmp_path, capsys):
    out = merge(files.values()).save(tmp_path / "merged.json")
    page = tmp_path / "page.html"
    assert report(["--rows", str(out), "--html", str(page)]) == 0, capsys.readouterr().err
    text = page.read_text()
    assert "Some CPU" in text
    assert "Other CPU" in text
    alone = tmp_path / "alone"
    for path in files.values():
        path.rename((alone.mkdir(exist_ok=True), alone / path.name)[1])
    assert report(["--rows", str(alone), "--html", str(tmp_path / "same.html")]) == 0
    assert (tmp_path / "same.html").read_text() == text


def test_everything_of_a_row_comes_back(tmp_path):
    run = run_of(rich_rows(2, "cold"), 1)
    out = merge([run.save(tmp_path / "a.json")]).save(tmp_path / "merged.json")
    assert runs_in(out) == [run]
    assert json.loads(out.read_text())["schema"] == MERGED


def test_what_is_there_twice_is_taken_once(files, tmp_path):
    first = merge([files["a"], files["b"]]).save(tmp_path / "first.json")
    again = merge([first, files["a"], files["a"], files["c"]])
    assert len(again.runs) == 3
    assert again.left_out == [f"{files['a']}: the run of 2026-01-02T00:00:00+00:00 is in {first} too"] * 2
    result = invoke("--merge", tmp_path, "--out", tmp_path / "merged.json")
    assert result.exit_code == 0
    assert f"left out: {first}" in result.output


def test_an_interrupted_run_gives_way_to_the_whole_one(tmp_path):
    whole = measured(2)
    part = replace(whole, rows=whole.rows[:1], date="2026-01-01T00:00:00+00:00", partial=True)
    paths = [part.save(tmp_path / "part.json"), whole.save(tmp_path / "whole.json")]
    found = merge(paths)
    assert found.runs == [whole]
    assert found.left_out == [f"{paths[0]}: the interrupted run of {part.date} is completed in {paths[1]}"]
    assert merge(paths[:1]).runs == [part]  # alone it stays, marked as partial


def test_equal_times_of_two_machines_are_no_conflict(tmp_path):
    runs = [measured(1, cpu=cpu) for cpu in ("Some CPU", "Other CPU")]
    found = merge(run.save(tmp_path / f"{n}.json") for n, run in enumerate(runs))
    assert len(by_machine(found.runs)) == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(measured(1), date="2026-01-09T00:00:00+00:00"),  # a copy with another date
        replace(measured(1), source={"commit": "d", "csrc_hash": "other"}),
        replace(measured(1), rows=[*measured(1).rows[:2], row("greenkernels tile=4", 0.5, True)]),
    ],
)
def test_a_measurement_in_two_runs_is_a_conflict(tmp_path, other):
    paths = [measured(1).save(tmp_path / "a.json"), other.save(tmp_path / "b.json")]
    with pytest.raises(
        ValueError, match=r"b\.json and .*a\.json: the runs of .* must not share measurements"
    ):
        merge(paths)


def test_who_is_absent_may_be_named_beside_a_time(tmp_path):
    absent = replace(row("torch", 1.0), time_s=None, thrown_out="not in the run: no driver")
    run = run_of([row("torch", 1.0), absent, absent], 1)
    assert merge([run.save(tmp_path / "a.json")]).runs == [run]


def test_a_contender_twice_on_one_case_is_refused(tmp_path):
    path = run_of([row("torch", 1.0), row("torch", 2.0)], 1).save(tmp_path / "a.json")
    with pytest.raises(
        ValueError, match=r"a\.json: a run must time each contender once .* got torch on stem case"
    ):
        merge([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 99, "rows": []}', "schema must be 1 or 2 or 3, got 99"),
        ("[]", "schema must be 1 or 2 or 3, got None"),
        ('{"schema": 3, "runs": [{"schema": 4}]}', "schema must be 1 or 2, got 4"),
        ('{"schema": 3}', "must hold rows of schema 3, but it misses 'runs'"),
        ('{"schema": 2, "rows": [{}]}', "must hold rows of schema 2, but it misses"),
        ('{"schema": 2', "must be a file of benchmark rows"),
        (b"\xff\xfe", "must be a file of benchmark rows"),
    ],
)
def test_other_files_are_refused_and_nothing_is_written(files, tmp_path, text, message):
    bad, out = tmp_path / "bad.json", tmp_path / "merged.json"
    bad.write_bytes(text if isinstance(text, bytes) else text.encode())
    out.write_text("as it was")
    result = invoke("--merge", files["a"], bad, "--out", out)
    assert result.exit_code == 1
    assert f"{bad}: {message}" in result.output
    assert out.read_text() == "as it was"


def test_what_is_not_there_is_refused(files, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: must hold files of benchmark rows"):
        files_of([tmp_path / "empty"])
    with pytest.raises(ValueError, match=r"none\.json: must be a file of benchmark rows"):
        merge([tmp_path / "none.json"])
    assert "--merge needs files of benchmark rows" in invoke("--merge", "--out", tmp_path / "o.json").output
    for options in ((), ("--out", tmp_path)):
        result = invoke("--merge", files["a"], *options)
        assert result.exit_code == 1
        assert "--merge needs --out FILE.json" in result.output


def test_a_merged_file_is_no_run_to_resume(files, tmp_path):
    out = merge(files.values()).save(tmp_path / "merged.json")
    result = invoke("--resume", out)
    assert result.exit_code == 1
    assert "schema must be 1 or 2, got 3" in result.output


@pytest.mark.skipif(not RESULTS.is_dir(), reason="needs a checkout")
def test_the_committed_rows_can_be_merged():
    found = merge([RESULTS])
    assert not found.left_out
    assert len(found.runs) == len(list(RESULTS.glob("*.json")))
