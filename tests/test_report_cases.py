"""Rows of several runs put together: who is the best, the ratios, and the word behind them."""

import pytest
from bench_rows import case_rows, quantity, row, run_of

from greenkernels.measure import Kind, MixedKindsError, Row
from greenkernels.report.cases import by_machine, cases_of, require_measured, speedup_of
from greenkernels.report.verdicts import counted, verdict


@pytest.mark.parametrize(
    ("ratios", "noise", "word"),
    [
        ([0.56, 0.4, 1.51], 0.03, "loses"),  # most runs lose, however wide the range
        ([0.97, 0.97, 1.3], 0.0, "loses"),
        ([0.9, 1.1], 0.0, "undecided"),  # half is not most
        ([0.93, 0.91, 0.97], 0.1, "even"),  # all within the noise
        ([1.01, 0.99, 1.0], 0.0, "even"),
        ([1.9, 2.0, 2.1], 0.0, "ahead"),  # three runs are no verdict
        ([1.8, 1.9, 2.0, 2.1, 2.0], 0.0, "wins"),
        ([1.8, 1.9, 2.0, 2.1, 0.9], 0.0, "undecided"),  # one run against it
        ([1.01, 1.02, 1.02, 1.01, 1.02], 0.05, "even"),
        ([1.1, 1.1, 1.1, 1.1, 1.1], 0.2, "even"),
        ([3.0], 0.0, "undecided"),  # one run says nothing about spread
        ([0.5], 0.0, "loses"),
    ],
)
def test_the_word_behind_ratios(ratios, noise, word):
    assert verdict(ratios, noise) == word


def test_a_verdict_needs_a_ratio():
    with pytest.raises(ValueError, match="must not be empty"):
        verdict([])


def test_verdicts_are_counted_best_first():
    assert counted(["loses", "ahead", "ahead", ""]) == "2 ahead, 1 lose, 1 unopposed"


def one(runs, current="hash", least=3):
    (case,) = cases_of(runs, current and {"csrc_hash": current}, least)
    return case


def test_medians_over_runs_and_ratios_run_by_run():
    pairs = [(0.10, 0.05), (0.12, 0.05), (0.11, 0.05)]
    case = one([run_of(case_rows(*pair), day) for day, pair in enumerate(pairs, 1)])
    assert case.best.contender == "greenkernels tile=4"  # tile=6 was thrown out
    assert case.rival.contender == "torch channels_last"
    assert case.rival.time.value == pytest.approx(0.11)
    assert case.ratios() == pytest.approx([2.0, 2.4, 2.2])
    assert (case.ratio().value, case.ratio().low, case.ratio().high) == pytest.approx((2.2, 2.0, 2.4))
    assert case.word == "ahead"
    assert speedup_of(case).side == 1


def test_the_best_rival_may_be_any_library():
    rows = [*case_rows(0.1, 0.05), row("ncnn", 0.04)]
    case = one([run_of(rows, day) for day in (1, 2, 3)])
    assert case.rival.contender == "ncnn"
    assert case.word == "loses"
    assert speedup_of(case).side == -1


def test_a_rival_of_one_run_is_not_ranked_but_there():
    runs = [run_of(case_rows(0.1, 0.05), day) for day in (1, 2)]
    runs.append(run_of([*case_rows(0.1, 0.05), row("ncnn", 0.01)], 3))
    case = one(runs)
    assert case.rival.contender == "torch channels_last"
    assert "ncnn" in [s.contender for s in case.standings]


def test_a_contender_stays_that_a_rival_of_its_name_follows():
    absent = Row(
        "stem", "case", "torch channels_last", False, None, 1, thrown_out="not in the run: not driven"
    )
    case = one([run_of([*case_rows(0.1, 0.05), absent], day) for day in (1, 2, 3)])
    assert case.rival.contender == "torch channels_last"
    assert case.ratio().value == pytest.approx(2)


def test_wrong_once_is_thrown_out():
    runs = [run_of(case_rows(0.1, 0.05), day) for day in (1, 2, 3)]
    runs[1].rows[2].thrown_out = "relative error 1"
    assert one(runs).best is None
    assert one(runs).ratio() is None
    assert one(runs).word == ""


def test_cold_and_warm_and_thread_numbers_are_cases_of_their_own():
    rows = [
        r for cache in ("cold", "warm") for n in (1, 2) for r in case_rows(0.1, 0.05, cache=cache, threads=n)
    ]
    cases = cases_of([run_of(rows, day) for day in (1, 2, 3)], {"csrc_hash": "hash"}, 3)
    assert [(c.key.cache, c.key.threads) for c in cases] == [
        ("cold", 1),
        ("cold", 2),
        ("warm", 1),
        ("warm", 2),
    ]


def test_newest_kernels_with_enough_runs_count_and_old_ones_stay_as_stale():
    old = [run_of(case_rows(0.1, 0.05), day, csrc="old") for day in (1, 2, 3)]
    new = [run_of(case_rows(0.1, 0.02), day) for day in (4, 5, 6)]
    assert (one(old).stale, one(old).runs) == (True, 3)
    assert (one(old + new[:2]).stale, one(old + new[:2]).runs) == (True, 3)
    assert (one(old + new).stale, one(old + new).best.time.value) == (False, 0.02)
    assert not one(old, current=None).stale


def test_machines_and_versions_of_torch_are_kept_apart():
    runs = [run_of(case_rows(0.1, 0.05), day, cpu=cpu) for day, cpu in ((1, "a"), (2, "b"), (3, "a"))]
    assert [len(found) for found in by_machine(runs).values()] == [2, 1]
    mixed = [run_of(case_rows(0.1, 0.05), day, torch=v) for day, v in ((1, "2.12"), (2, "2.13"), (3, "2.13"))]
    assert cases_of(mixed, {"csrc_hash": "hash"}, 3) == []
    assert one(mixed, least=2).runs == 2


def test_noise_widens_the_band_and_marks():
    runs = [run_of(case_rows(0.1, 0.1, noise=noise), day) for day, noise in ((1, 0.0), (2, 0.2), (3, 0.3))]
    assert one(runs).band == 0.2
    assert one(runs).noisy


def test_kinds_do_not_mix():
    runs = [run_of(case_rows(0.1, 0.05), day) for day in (1, 2, 3)]
    runs[1].rows[2].time_s = quantity(0.05, kind=Kind.MODELLED)
    with pytest.raises(MixedKindsError):
        _ = one(runs).best
    for run in runs:
        for r in run.rows:
            r.time_s = quantity(0.05, kind=Kind.MODELLED)
    with pytest.raises(MixedKindsError):
        require_measured([one(runs)])
