"""What measuring leaves behind: kinds of quantities that refuse to mix, rows in files, facts about the source."""

import json

import pytest
import torch
from synthetic_clock import SyntheticClock, contender

from greenkernels.measure import (
    ForeignLoad,
    Kind,
    Measurement,
    MixedKindsError,
    Row,
    Run,
    Work,
    require_one_kind,
    rows_from_turns,
    take_turns,
)
from greenkernels.measure.threads import thread_numbers

# --- kinds


def test_kinds_refuse_to_mix():
    measured, modelled = (Measurement(1.0, "J", kind) for kind in (Kind.MEASURED, Kind.MODELLED))
    for expression in (lambda: measured + modelled, lambda: measured / modelled, lambda: measured / 2.0):
        with pytest.raises(MixedKindsError):
            expression()
    with pytest.raises(MixedKindsError, match="measured, modelled"):
        require_one_kind([measured, None, modelled])
    with pytest.raises(MixedKindsError):
        measured + Measurement(1.0, "s", Kind.MEASURED)
    assert require_one_kind([None, measured]) is Kind.MEASURED


def test_a_prediction_gives_no_ratio():
    bound = Measurement(1.0, "s", Kind.PREDICTED)
    with pytest.raises(MixedKindsError, match="bound"):
        bound / bound


def test_ratio_carries_both_spreads():
    ratio = Measurement(4.0, "s", Kind.MEASURED, 3.0, 5.0) / Measurement(2.0, "s", Kind.MEASURED, 1.0, 3.0)
    assert (ratio.low, ratio.value, ratio.high) == (1.0, 2.0, 5.0)
    assert ratio.unit == ""


# --- rows


def test_rows_hold_everything_and_come_back(tmp_path):
    clock = SyntheticClock()
    turns = take_turns(
        [contender("a", clock, 0.01), contender("b", clock, 0.005, lambda x: x)],
        (torch.ones(3, 4),),
        clock=clock,
        twin="a",
        reference=lambda x: 2 * x,
        tolerance=1e-6,
    )
    rows = rows_from_turns(turns, "suite", "case", ours=("b",), shape=[3, 4])
    path = Run.now(rows).save(tmp_path / "results" / "rows.json")
    back = Run.load(path)
    assert back.rows == rows
    assert [(row.contender, row.ours, bool(row.thrown_out)) for row in rows] == [
        ("a", False, False),
        ("b", True, True),
    ]
    assert len(rows[0].time_s.repeats) == 27  # 9 rounds of 3
    data = json.loads(path.read_text())
    assert {"machine", "versions", "source", "date", "schema"} <= set(data)
    assert data["rows"][0]["energy_j"] is None  # nobody counted its work
    assert not list(path.parent.glob("*.tmp"))


def test_row_tells_its_share_of_the_machine(tmp_path):
    ceilings = {
        "fma": Measurement(200e9, "op/s", Kind.MEASURED),
        "read": Measurement(10e9, "B/s", Kind.MEASURED),
    }
    time = Measurement(0.01, "s", Kind.MEASURED)
    work = Work(direct_flops=3e9, flops=1e9, bytes=2e7)
    row = Row("s", "c", "a", True, time, 1, version="1.2", flags="-O3", work=work, ceilings=ceilings)
    assert row.share_of("fma") == pytest.approx(0.5)
    assert row.share_of("read") == pytest.approx(0.2)
    assert row.share_of("vnni") is None
    assert Row("s", "c", "a", True, time, 1, ceilings=ceilings).share_of("fma") is None
    assert Run.load(Run.now([row]).save(tmp_path / "rows.json")).rows == [row]


def test_rows_of_the_first_schema_are_read(tmp_path):
    path = Run.now([Row("s", "c", "a", True, None, 1)]).save(tmp_path / "rows.json")
    data = json.loads(path.read_text()) | {"schema": 1}
    for name in ("version", "flags", "work", "ceilings"):
        del data["rows"][0][name]
    path.write_text(json.dumps(data))
    assert Run.load(path).rows == [Row("s", "c", "a", True, None, 1)]


def test_rows_of_another_schema_are_refused(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('{"schema": 99, "rows": []}')
    with pytest.raises(ValueError, match="schema must be 1 or 2, got 99"):
        Run.load(path)


def test_noisy_rows_are_marked():
    row = Row("s", "c", "a", True, None, 1)
    assert not row.noisy
    assert Row("s", "c", "a", True, None, 1, noise=0.06).noisy
    assert Row("s", "c", "a", True, None, 1, foreign_cores=0.5).noisy


def test_foreign_load_of_a_short_window_is_unknown():
    assert ForeignLoad().cores() is None


def test_thread_numbers():
    assert thread_numbers("1,4") == [1, 4]
    assert thread_numbers("")[0] == 1
    for bad in ("0", "two", "1,,2"):
        with pytest.raises(ValueError, match="--threads must be positive numbers"):
            thread_numbers(bad)
