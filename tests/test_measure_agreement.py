"""``greenkernels bench --compare``: regressions beyond noise, and how far the ratios of two runs agree."""

import pytest
from bench_rows import row, run_of
from typer.testing import CliRunner

from greenkernels.cli import build_app
from greenkernels.measure import Kind, Measurement
from greenkernels.measure.agreement import changes


def steady(value):
    return Measurement(value, "s", Kind.MEASURED, 0.999 * value, 1.001 * value, (value,))


def rows(torch_s, ours_s, **facts):
    made = [row("torch", torch_s, **facts), row("greenkernels", ours_s, True, **facts)]
    for one in made:
        one.time_s = steady(one.time_s.value)
    return made


def compare(tmp_path, before, after):
    paths = [run.save(tmp_path / name) for run, name in ((before, "a.json"), (after, "b.json"))]
    return CliRunner().invoke(build_app(["bench"]), ["bench", "--compare", *map(str, paths)])


def test_a_slower_machine_is_no_regression(tmp_path):
    result = compare(tmp_path, run_of(rows(2.0, 1.0), 1), run_of(rows(4.0, 2.02), 2))
    assert result.exit_code == 0, result.output
    assert "slower" not in result.output
    assert "ours: ratios that agree within 5%: 1 of 1 (100.0%)" in result.output


def test_a_slower_kernel_is_one(tmp_path):
    result = compare(tmp_path, run_of(rows(2.0, 1.0), 1), run_of(rows(2.0, 1.25), 2, csrc="changed"))
    assert result.exit_code == 1
    for part in ("slower by more than noise", "2.00x", "1.60x", "-20.0%", "1 regression(s) beyond noise"):
        assert part in result.output
    assert "0 of 1 (0.0%)" in result.output
    better = compare(tmp_path, run_of(rows(2.0, 1.25), 1), run_of(rows(2.0, 1.0), 2))
    assert better.exit_code == 0
    assert "faster by more than noise" in better.output


def test_noise_of_either_run_widens_the_band():
    before, after = run_of(rows(2.0, 1.0), 1), run_of(rows(2.0, 1.08, noise=0.1), 2)
    (change,) = changes([before], [after])
    assert (change.word, change.noisy) == ("same", True)  # 7 % slower, and A/A differed by 10 %
    wide = run_of(rows(2.0, 1.08), 2)
    wide.rows[0].time_s = Measurement(2.0, "s", Kind.MEASURED, 1.8, 2.2, (2.0,))
    assert changes([before], [wide])[0].word == "same"  # quartiles 10 % around the median
    assert changes([before], [run_of(rows(2.0, 1.08), 2)])[0].word == "slower"


def test_a_noisy_row_is_shown_but_no_regression(tmp_path):
    result = compare(tmp_path, run_of(rows(2.0, 1.0), 1), run_of(rows(2.0, 2.0, foreign_cores=1.0), 2))
    assert result.exit_code == 0, result.output
    assert "(noisy)" in result.output


def test_the_rival_is_one_that_both_runs_have():
    before = run_of([*rows(2.0, 1.0), row("gone", 0.5), row("wrong", 0.4)], 1)
    after = run_of([*rows(2.0, 1.0), row("wrong", 0.4, thrown_out="relative error 1")], 2)
    (change,) = changes([before], [after])
    assert (change.baseline, change.contender) == ("torch", "greenkernels")
    assert change.before == change.after == 2.0


def test_medians_of_several_runs_are_compared():
    before = [run_of(rows(2.0, ours), day) for day, ours in enumerate((1.0, 1.0, 1.9), 1)]
    (change,) = changes(before, [run_of(rows(2.0, 1.0), 4)])
    assert change.ratio == 1.0


@pytest.mark.parametrize("machine", ["Some CPU", "Other CPU"])
def test_what_cannot_be_compared_says_so(tmp_path, machine):
    result = compare(tmp_path, run_of(rows(2.0, 1.0), 1), run_of(rows(2.0, 1.0, case="b"), 2, cpu=machine))
    assert result.exit_code == 2
    assert "must share a measurement of one machine" in result.output


def test_two_files_are_needed(tmp_path):
    result = CliRunner().invoke(build_app(["bench"]), ["bench", "--compare", "a.json"])
    assert result.exit_code == 2
    assert "--compare needs two files or folders of rows, got 1" in result.output
