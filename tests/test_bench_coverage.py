"""Every kernel, module and network of the project has its benchmark, and which of them have no row yet is known."""

from pathlib import Path

import pytest

if not (Path(__file__).resolve().parent.parent / "csrc").is_dir():
    pytest.skip("needs a checkout", allow_module_level=True)

from bench_coverage import RESULTS, cases, measured, missing, stems, suites_of_module
from bench_rows import row, run_of

from greenkernels.measure.suite import load_suite, suite_names
from greenkernels.report.cases import load_runs

# Not measured yet: `python tests/bench_coverage.py` says what to take out of these lists after rows have been added.
WITHOUT_ROWS = {
    "kernels": set(),
    "modules": set(),
    "networks": set(),
}


def test_everything_has_cases():
    assert missing(cases()) == {"kernels": [], "modules": [], "networks": []}


def test_what_has_no_row_is_known():
    for kind, names in missing(measured(load_runs(RESULTS))).items():
        assert set(names) <= WITHOUT_ROWS[kind], f"{kind} without a row"


def test_missing_things_are_found():
    assert {"winograd_conv2d", "int8_gemm", "sgemm"} <= stems()
    assert "winograd_conv2d" in suites_of_module("WinogradConv2d")
    assert suites_of_module("NoModule") == set()
    have = cases()
    del have["modules"]
    have["classic_networks"].remove("vgg16 224")
    have["classic_networks"].remove("vgg16 224 90% zeros")
    have["networks"].remove("hed")
    have["csr_matmul"] = set()
    found = missing(have)
    assert found["kernels"] == ["csr_matmul"]
    assert {"LinearGRU", "PairedMaxPool2d"} <= set(found["modules"])
    assert found["networks"] == ["hed", "vgg16"]


def test_only_times_of_ours_count():
    wrong = row("ours", 1.0, True, case="wrong", thrown_out="relative error 1")
    rows = [row("ours", 1.0, True), row("torch", 1.0, case="theirs"), wrong]
    assert measured([run_of(rows, 1)]) == {"stem": {"case"}}


@pytest.mark.parametrize("suite", suite_names())
def test_names_tell_cases_apart_and_a_run_of_all_suites_has_some_of_each(suite):
    found = load_suite(suite)
    assert len({case.name for case in found}) == len(found)
    assert any(not case.sweep for case in found)
    assert all(case.caches for case in found)
