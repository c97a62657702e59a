"""Tables, pictures, the page, and the results between the README's markers."""

import re

import pytest
import torch

from greenkernels.measure import Kind, Measurement, MixedKindsError, Row, Run
from greenkernels.measure.machine import csrc_hash
from greenkernels.report import html, pictures, readme, tables


def seconds(value):
    return Measurement(value, "s", Kind.MEASURED, 0.9 * value, 1.1 * value, (value,))


def test_numbers_in_words():
    assert tables.milliseconds(None) == "-"
    assert tables.milliseconds(seconds(0.00123)) == "1.230"
    assert tables.milliseconds(seconds(0.123), spread=True) == "123.0 [110.7, 135.3]"
    assert tables.error(0) == "0"
    assert tables.error(1.234e-6) == "1.2e-06"


def test_a_column_refuses_to_mix_kinds():
    with pytest.raises(MixedKindsError):
        tables.times_column([seconds(1), Measurement(1, "s", Kind.MODELLED)])


def test_tables():
    text = tables.text_table(("a", "bb"), [("xxx", "1"), ("y", "22")], right=(1,))
    assert text.splitlines() == ["a    bb", "---  --", "xxx   1", "y    22"]
    assert tables.markdown_table(("a", "b"), [("x|y", "1")], right=(1,)).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x\\|y | 1 |",
    ]


def test_sheet_shows_every_picture_and_a_part_of_it():
    plain = [(name, torch.full((1, 3, 20, 31), value)) for name, value in (("a", 0.0), ("b", 1.0))]
    sheet = pictures.sheet(plain)
    assert sheet.width > 2 * 31
    assert sheet.getpixel((pictures.MARGIN + 1, pictures.LABEL_HEIGHT + 1)) == (0, 0, 0)
    assert pictures.sheet(plain, (5, 5)).height > sheet.height
    assert pictures.png_bytes(sheet).startswith(b"\x89PNG")


def test_image_has_the_pixels_of_the_tensor():
    picture = torch.rand(1, 3, 5, 7)
    image = pictures.to_image(picture)
    expected = tuple(int(v) for v in (picture[0, :, 2, 6] * 255).round())
    assert image.getpixel((6, 2)) == expected


def test_most_different_part():
    a, b = torch.zeros(1, 3, 60, 80), torch.zeros(1, 3, 60, 80)
    b[..., 40:50, 20:30] = 1
    row, column = pictures.most_different(a, b)
    assert abs(row - 45) <= 16
    assert abs(column - 25) <= 16


def test_page_needs_nothing_from_elsewhere(tmp_path):
    page = (
        html.Page("a < b")
        .heading("h")
        .text("t & u")
        .preformatted("<p>")
        .table(("x",), [("<1>",)], right=(0,))
    )
    page.picture(b"\x89PNG", "alt")
    text = page.save(tmp_path / "new" / "page.html").read_text()
    assert "&lt;1&gt;" in text
    assert "t &amp; u" in text
    assert not re.search(r'(src|href)="(?!data:)', text)


# --- README


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a kernel, a README and a folder for rows; and a function that adds a run."""
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc" / "a.cpp").write_text("int a;")
    (tmp_path / "README.md").write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    folder = tmp_path / "results"

    def add(day, torch_s, ours_s, cpu="Some CPU"):
        rows = [
            Row("stem", "case", "torch NCHW", False, seconds(2 * torch_s), 1),
            Row("stem", "case", "torch channels_last", False, seconds(torch_s), 1),
            Row("stem", "case", "greenkernels tile=4", True, seconds(ours_s), 1, max_relative_error=1e-6),
            Row("stem", "case", "greenkernels tile=6", True, seconds(1e-9), 1, thrown_out="relative error 1"),
        ]
        machine = {"cpu": {"name": cpu, "family_model": "6/1", "cores": 2}}
        source = {"commit": "c", "dirty": False, "csrc_hash": csrc_hash(tmp_path)}
        run = Run(rows, f"2026-01-0{day}T00:00:00+00:00", machine, {"torch": "2.13.0"}, source)
        run.save(folder / f"run-{cpu}-{day}.json")

    folder.mkdir()
    return tmp_path, folder, add


def test_results_are_medians_of_three_runs(checkout):
    root, folder, add = checkout
    for day, (torch_s, ours_s) in enumerate([(0.10, 0.05), (0.12, 0.05), (0.11, 0.05)], 1):
        add(day, torch_s, ours_s)
    text = readme.results_text(folder, root)
    assert "| case | 1 | channels_last | 110 | tile=4 | 50 | 2.20x [2.00, 2.40] | 1.0e-06 |  |" in text
    assert "Some CPU" in text
    assert "2026-01-03" in text
    assert "tile=6" not in text  # thrown out
    assert "Stale" not in text


def test_losses_and_stale_rows_are_shown(checkout):
    root, folder, add = checkout
    for day in (1, 2, 3):
        add(day, 0.05, 0.10)
    (root / "csrc" / "a.cpp").write_text("int b;")
    text = readme.results_text(folder, root)
    assert "0.50x [0.50, 0.50] | 1.0e-06 | loses |" in text
    assert "Stale: the kernels have changed since." in text


def test_fewer_than_three_runs_give_no_number(checkout):
    root, folder, add = checkout
    assert "No results yet" in readme.results_text(folder, root)
    add(1, 0.1, 0.05)
    add(2, 0.1, 0.05)
    add(3, 0.1, 0.05, cpu="Another CPU")  # does not count with the others
    assert "No results yet" in readme.results_text(folder, root)


def test_only_what_is_between_the_markers_changes(checkout):
    root, _, _ = checkout
    path = root / "README.md"
    assert readme.write_between_markers(path, "new")
    assert path.read_text() == f"before\n{readme.BEGIN}\nnew\n{readme.END}\nafter\n"
    assert not readme.write_between_markers(path, "new")
    path.write_text("no markers")
    with pytest.raises(ValueError, match="must have one"):
        readme.write_between_markers(path, "new")
