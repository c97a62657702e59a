"""The page of benchmark rows: every contender stands on it, with what is known about it."""

import re
import sys
from pathlib import Path

import pytest
from bench_rows import case_rows, quantity, rich_rows, row, run_of

from greenkernels.measure import Kind, MixedKindsError
from greenkernels.report.bench_page import bench_page
from greenkernels.report.cases import load_runs


def page_of(tmp_path, runs, **options):
    return bench_page(runs, tmp_path / "bench.html", **options)[0].read_text(encoding="utf-8")


def rich_run(day=1):
    return run_of([r for n in (1, 2) for cache in ("warm", "cold") for r in rich_rows(n, cache, 1 / n)], day)


def test_everything_a_row_knows_is_in_its_line(tmp_path):
    text = page_of(tmp_path, [rich_run()])
    # 1e9 operations in 20 ms are 50 Gop/s, a quarter of 200; 4e9 plain ones 200 Gop/s; 1e8 bytes 5 of 20 GB/s.
    for part in (
        "50",
        "200",
        "25%",
        "J (modelled)",
        "0.5",
        "ncnn · 1.0.20 · winograd=auto",
        "1.50x",
        "best rival",
    ):
        assert part in text
    assert re.search(r"<td>50</td><td>200</td><td>25%</td>", text)
    assert text.index("stem, cold, 1 thread") < text.index("stem, warm, 1 thread")


def test_what_is_wrong_with_a_row_is_said(tmp_path):
    rows = case_rows(0.05, 0.1, noise=0.2)
    text = page_of(tmp_path, [run_of(rows, 1, csrc="old")], current={"csrc_hash": "new"})
    for part in ("thrown out: relative error 1", "noisy", "stale: the kernels have changed since", "loses"):
        assert part in text
    assert '<tr class="loses">' in text
    assert "1 lose." in text


def test_columns_that_nobody_fills_are_left_out(tmp_path):
    text = page_of(tmp_path, [run_of(case_rows(0.1, 0.05), 1)])
    assert "Gop/s" not in text
    assert "% of" not in text
    assert "J</th>" not in text


def test_plots_of_a_run_with_everything(tmp_path):
    pytest.importorskip("matplotlib")
    page, *plots = bench_page([rich_run()], tmp_path / "bench.html", figures=tmp_path / "figures")
    stems = {f"stem-{n}-threads-{what}" for n in (1, 2) for what in ("speed-ups", "roofline-float32")}
    assert {path.stem for path in plots} == stems | {"stem-errors", "stem-scaling"}
    assert page.read_text().count("data:image/svg+xml") == 6


def test_joules_of_both_sides_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    run = rich_run()
    for one in run.rows:
        one.energy_j = quantity(2.0 if one.ours else 1.0, "J", Kind.MODELLED)
    _, *plots = bench_page([run], tmp_path / "bench.html", figures=tmp_path / "figures")
    assert {f"stem-{n}-threads-joules.svg" for n in (1, 2)} <= {path.name for path in plots}


def test_squares_show_from_which_size_on_levels_pay(tmp_path):
    pytest.importorskip("matplotlib")
    rows = []
    for size, level_s in ((64, 3.0), (2048, 0.5)):
        facts = {"case": f"square {size}", "suite": "strassen_gemm", "extra": {"shape": [size] * 3}}
        rows += [row("torch", 1.0, **facts), row("levels 0", 1.1, True, **facts)]
        rows += [row("levels 1", level_s, True, **facts)]
    _, *plots = bench_page([run_of(rows, 1)], tmp_path / "bench.html", figures=tmp_path / "figures")
    (drawn,) = [path for path in plots if path.name == "strassen_gemm-1-threads-crossover-warm.svg"]
    assert "levels 1: faster from 2048 on" in drawn.read_text()


def test_contents_lead_to_every_suite(tmp_path):
    text = page_of(tmp_path, [rich_run()])
    anchors = re.findall(r'href="#([^"]+)"', text)
    assert anchors == ["stem-0"]
    assert all(f'id="{anchor}"' in text for anchor in anchors)


@pytest.mark.long
def test_page_of_the_committed_rows_can_be_mailed(tmp_path):
    results = Path(__file__).resolve().parent.parent / "bench" / "results"
    assert len(page_of(tmp_path, load_runs(results)).encode()) < 5e6


def test_several_machines_do_not_overwrite_each_other(tmp_path):
    pytest.importorskip("matplotlib")
    runs = [rich_run(), run_of(rich_rows(1, "warm"), 2, cpu="Other CPU")]
    written = bench_page(runs, tmp_path / "bench.html", figures=tmp_path / "figures")
    assert len(written) == len(set(written))
    assert "Other CPU" in written[0].read_text()


def test_runs_with_few_contenders_in_common(tmp_path):
    runs = [run_of(case_rows(0.1, 0.05)[:3], 1), run_of(case_rows(0.1, 0.05), 2)]
    assert "1 of 2 runs" in page_of(tmp_path, runs)


def test_the_same_rows_give_the_same_bytes(tmp_path):
    assert page_of(tmp_path / "a", [rich_run()]) == page_of(tmp_path / "b", [rich_run()])


def test_nothing_is_fetched(tmp_path):
    text = page_of(tmp_path, [rich_run()])
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "<script" not in text


def test_kinds_do_not_mix_in_a_column(tmp_path):
    run = rich_run()
    run.rows[0].energy_j = quantity(1.0, "J", Kind.MEASURED)
    text = page_of(tmp_path, [run])
    assert "J (measured)</th>" in text
    assert "J (modelled)</th>" in text
    run.rows[0].time_s = quantity(1.0, "s", Kind.SIMULATED)
    with pytest.raises(MixedKindsError):
        page_of(tmp_path / "new", [run])
    assert not (tmp_path / "new").exists()


def test_without_matplotlib_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = page_of(tmp_path, [rich_run()])
    assert "No plots: plots need matplotlib" in text
    assert "ncnn" in text


def test_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        bench_page([], tmp_path / "bench.html")
