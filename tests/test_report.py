"""Tables, pictures, and the page that they are put on."""

import re

import pytest
import torch

from greenkernels.measure import Kind, Measurement, MixedKindsError
from greenkernels.report import files, html, pictures, tables


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
    assert not re.search(r'(src|href)="(?!data:|#)', text)


def test_rows_of_a_table_have_styles_and_captions():
    page = html.Page("t").table(("a", "b"), [("x", "1"), ("y", "2")], (1,), "what it is", ("", "loses"))
    (table,) = page.parts
    assert "<caption>what it is</caption>" in table
    assert '<table class="r2">' in table
    assert '<th scope="col">a</th><th scope="col">b</th>' in table
    assert '<tr class="loses"><td>y</td><td>2</td></tr>' in table
    assert ".r2 :is(td, th):nth-child(2)" in page.render()


def test_half_a_file_is_never_seen(tmp_path):
    path = tmp_path / "a" / "page.html"
    files.write_whole(path, b"old")
    with pytest.raises(TypeError):
        files.write_whole(path, "text is no bytes")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
