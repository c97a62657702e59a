"""The analytic model: its formula, its tables, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenkernels.energy import Counts, hardware, hardware_names, joules, split_joules
from greenkernels.energy.hardware_table import ESTIMATE_FACTOR, load_table
from greenkernels.measure.provenance import Kind, Measurement, MixedKindsError, require_one_kind

PAGE = Path(__file__).resolve().parent.parent / "docs/hardware.md"
PICO = 1e-12
COUNTS = Counts(flops=1000, bytes_read=300, bytes_written=100, weight_bytes=50)


def table(tmp_path: Path, **row: object) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"name": "mine", "about": "a test", "rows": [{"what": "add float32", **row}]}))
    return path


def test_is_the_sum_of_counts_times_costs() -> None:
    parts = split_joules(COUNTS, time_s=2.0)
    assert parts.compute.value == pytest.approx(500 * (0.38 + 1.31) * PICO)
    registers = 500 * 4 * 4 * 0.1  # a multiply-add has 4 operands of 4 bytes
    levels = 400 * (0.9375 + 1.0625 + 1.75 + 43.75)  # nothing is in a cache, so each byte passes all of them
    assert parts.memory.value == pytest.approx((registers + levels) * PICO)
    assert parts.static.value == pytest.approx(2.0 * 10)
    assert (parts.communication.value, parts.communication.low, parts.communication.high) == (0, 0, 0)
    assert joules(COUNTS, 2.0).value == pytest.approx(
        parts.compute.value + parts.memory.value + parts.static.value
    )


def test_every_part_is_modelled_joules_with_an_interval() -> None:
    parts = split_joules(COUNTS, time_s=1e-3)
    for part in (parts.compute, parts.memory, parts.static, parts.total):
        assert (part.unit, part.kind) == ("J", Kind.MODELLED)
        assert part.low < part.value < part.high


def test_without_a_time_static_power_is_left_out() -> None:
    assert split_joules(COUNTS).static is None
    assert joules(COUNTS).value < joules(COUNTS, 1e-9).value


def test_the_spread_of_a_measured_time_widens_the_interval() -> None:
    exact, spread = 1.0, Measurement(1.0, "s", Kind.MEASURED, 0.5, 2.0)
    assert joules(COUNTS, spread).high > joules(COUNTS, exact).high
    assert joules(COUNTS, spread).kind is Kind.MODELLED


def test_refuses_a_time_in_another_unit() -> None:
    with pytest.raises(ValueError, match="time_s must be in s, got 'J'"):
        joules(COUNTS, Measurement(1.0, "J", Kind.MEASURED))


def test_does_not_mix_with_measured_joules() -> None:
    modelled, measured = joules(COUNTS), Measurement(1.0, "J", Kind.MEASURED)
    for mix in (lambda: modelled + measured, lambda: measured / modelled):
        with pytest.raises(MixedKindsError):
            mix()
    with pytest.raises(MixedKindsError, match="one kind of quantity, got measured, modelled"):
        require_one_kind([modelled, None, measured])


def test_joules_with_and_without_static_power_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="with and without static power"):
        split_joules(COUNTS) + split_joules(COUNTS, 1.0)


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_types_of_8_bits_cost_what_int8_does(dtype: str) -> None:
    assert joules(Counts(9, 4, 4, 0, dtype)) == joules(Counts(9, 4, 4, 0, "int8"))


def test_int8_is_cheaper_than_float32() -> None:
    assert joules(Counts(1000, 0, 0, 0, "int8")).high < joules(Counts(1000, 0, 0, 0)).low


@pytest.mark.parametrize(
    ("counts", "time_s", "name", "message"),
    [
        (Counts(1, 0, 0, 0, "complex64"), None, "generic-7nm", "has no figure for 'add complex64'"),
        (COUNTS, 1.0, "horowitz-45nm", "has no figure for 'static watt'"),
        (COUNTS, None, "abacus", "must be one of generic-7nm, .*, got 'abacus'"),
    ],
)
def test_what_has_no_figure_is_refused(counts: Counts, time_s: float | None, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joules(counts, time_s, name)


def test_bytes_need_no_figure_of_their_type() -> None:
    assert joules(Counts(0, 8, 8, 0, "complex64")).value > 0


@pytest.mark.parametrize("citation", [{}, {"citation": ""}, {"citation": "  "}])
def test_a_row_without_citation_is_refused(tmp_path: Path, citation: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"mine.json: row 'add float32' must have a citation"):
        load_table(table(tmp_path, joules=1e-12, **citation))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "either joules or watts"),
        ({"joules": 1, "watts": 1}, "either joules or watts"),
        ({"joules": 0}, "0 < low <= value <= high"),
        ({"joules": 2, "low": 3}, "0 < low <= value <= high"),
    ],
)
def test_a_row_without_sense_is_refused(tmp_path: Path, row: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_table(table(tmp_path, citation="a book", **row))


def test_the_mark_estimate_widens_the_interval(tmp_path: Path) -> None:
    sure = load_table(table(tmp_path, joules=2e-12, low=1e-12, citation="a book")).figure("add float32")
    guess = load_table(table(tmp_path, joules=2e-12, low=1e-12, citation="a book", estimate=True)).figure(
        "add float32"
    )
    assert (guess.low, guess.high) == (sure.low / ESTIMATE_FACTOR, sure.high * ESTIMATE_FACTOR)


@pytest.mark.skipif(not PAGE.exists(), reason="needs a checkout")
@pytest.mark.parametrize("name", hardware_names())
def test_the_page_prints_the_figures_of_the_table(name: str) -> None:
    section = PAGE.read_text().partition(f"### {name}\n")[2].partition("\n#")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    wanted = []
    for f in hardware(name).figures.values():
        scale, unit = (1e12, "pJ") if f.unit == "J" else (1, "W")
        value, ends = f"{f.value * scale:.4g} {unit}", f"{f.low * scale:.4g} to {f.high * scale:.4g}"
        mark = "estimate: " if f.estimate else ""
        wanted.append(f"| {f.what} | {value} | {ends} | {mark}{f.citation} |")
    assert rows == wanted


@pytest.mark.parametrize("name", hardware_names())
def test_every_figure_of_every_table_has_its_source(name: str) -> None:
    found = hardware(name)
    assert found.name == name
    assert found.figures
    for figure in found.figures.values():
        assert figure.citation
        assert figure.estimate == (figure.low <= figure.value / ESTIMATE_FACTOR)
        assert figure.unit == ("W" if figure.what == "static watt" else "J")
