"""The bar for networks of the zoo, on rows that nobody measured; doing nothing has to fail."""

import json

import pytest
from typer.testing import CliRunner

from greenkernels.measure import Kind, Measurement, Row, Run
from greenkernels.zoo.__main__ import app
from greenkernels.zoo.bar import judge, table
from greenkernels.zoo.contest import OURS, TORCH, TORCH_CHANNELS_LAST


def rows(ours=0.010, replaced=3, difference=1e-6, role="3x3", case="net 1 x 3 x 8 x 8", **more):
    """A case of three rows: torch takes 20 ms, in channels_last 15 ms."""
    extra = {"role": role, "replaced": replaced, "layers": 5, "relative_difference": difference}
    return [
        Row(
            suite="networks",
            case=case,
            contender=name,
            ours=name == OURS,
            time_s=Measurement(time, "s", Kind.MEASURED, time, time, (time,)),
            threads=1,
            extra=dict(extra),
            **more,
        )
        for name, time in ((TORCH, 0.020), (TORCH_CHANNELS_LAST, 0.015), (OURS, ours))
    ]


def problems(found):
    (verdict,) = judge(found)
    return "; ".join(verdict.problems)


def test_a_winner_passes():
    (verdict,) = judge(rows())
    assert verdict.problems == ()
    assert verdict.stock.contender == TORCH_CHANNELS_LAST  # the faster of the two
    assert verdict.speedup.value == pytest.approx(1.5)


def test_doing_nothing_fails_where_3x3_dominates():
    said = problems(rows(ours=0.015, replaced=0, difference=0.0))
    assert said == "no layer was replaced; does not win: 1.000x, needs more than 1.020x"


def test_replacing_without_winning_fails():
    assert "does not win: 0.938x" in problems(rows(ours=0.016))
    assert "needs more than 1.600x" in problems(rows(noise=0.6))  # 1.5x within the noise is no win


def test_a_wrong_output_fails():
    assert problems(rows(difference=2e-5)) == "differs by 2.0e-05, allowed 1.0e-05"
    assert problems(rows(difference=2e-5, role="control")) == "differs by 2.0e-05, allowed 1.0e-05"


@pytest.mark.parametrize("role", ["control", "linear"])
def test_controls_may_be_kept_or_equal(role):
    assert problems(rows(ours=0.0158, replaced=0, difference=0.0, role=role)) == ""
    assert problems(rows(ours=0.0152, role=role)) == ""
    assert problems(rows(ours=0.0158, role=role)) == "is slower: 0.949x, allowed 0.980x"
    said = problems(rows(replaced=0, difference=1e-7, role=role))
    assert said == "was kept, but its output differs by 1.0e-07"


def test_what_was_thrown_out_is_not_measured():
    found = rows()
    found[2].thrown_out = "relative error 1.0e-01, allowed 1.0e-02"
    assert "not measured; greenkernels: relative error" in problems(found)
    assert "not measured" in table(judge(found))


def test_other_rows_are_passed_over():
    assert judge(rows(cache="cold")) == []
    kernels = rows()
    for row in kernels:
        row.extra = {}
    assert judge(kernels) == []
    assert len(judge(rows() + rows(case="another"))) == 2


def test_table_marks_noise():
    text = table(judge(rows(noise=0.07) + rows(case="kept", role="control", replaced=0, difference=0.0)))
    assert "3 of 5" in text
    assert "1.50x" in text
    assert "(noisy: A/A 7.0%, others 0.0 cores)" in text


def test_command_fails_with_the_bar(tmp_path):
    good = Run.now(rows()).save(tmp_path / "good.json")
    bad = Run.now(rows(replaced=0)).save(tmp_path / "bad.json")
    assert CliRunner().invoke(app, ["bar", str(good)]).exit_code == 0
    result = CliRunner().invoke(app, ["bar", str(good), str(bad)])
    assert result.exit_code == 1
    assert "no layer was replaced" in result.output
    (tmp_path / "none.json").write_text(json.dumps({"schema": 0}))
    result = CliRunner().invoke(app, ["bar", str(tmp_path / "none.json")])
    assert result.exit_code == 2
    assert "schema" in result.output


def test_fetch_names_what_it_does_not_know():
    result = CliRunner().invoke(app, ["fetch", "nothing"])
    assert result.exit_code == 1
    assert "network must be one of" in result.output
